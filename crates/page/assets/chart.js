// Lines over time, bars, and the picture of attention.

/** Lines over time steps, of numbers that may differ by orders of magnitude. */
function lineChart(series, label) {
  const [width, height, left, right, top, bottom] = [560, 220, 56, 16, 12, 30];
  const points = series.flatMap((one) => one.points);
  const logs = points.map(([, y]) => y).filter((y) => y > 0).map(Math.log10);
  if (logs.length === 0) return null;
  const low = Math.floor(Math.min(...logs)), high = Math.max(Math.ceil(Math.max(...logs)), low + 1);
  const times = points.map(([t]) => t);
  const [first, last] = [Math.min(...times), Math.max(...times)];
  const x = (t) => left + ((t - first) / Math.max(1, last - first)) * (width - left - right);
  const y = (value) => top + ((high - Math.log10(value)) / (high - low)) * (height - top - bottom);
  const lines = [];
  for (let power = low; power <= high; power += Math.ceil((high - low) / 6)) {
    lines.push(svg("line", { x1: left, x2: width - right, y1: y(10 ** power), y2: y(10 ** power), class: "rule" }),
      svg("text", { x: left - 8, y: y(10 ** power) + 4, "text-anchor": "end" }, power === 0 ? "1" : `1e${power}`.replace("-", "−")));
  }
  for (let t = first; t <= last; t += Math.ceil((last - first + 1) / 12)) lines.push(svg("text", { x: x(t), y: height - 8, "text-anchor": "middle" }, String(t)));
  const drawn = series.map(({ name, points }, k) => {
    const shown = points.filter(([, value]) => value > 0);
    return svg("g", { class: `line line${k % 4}` },
      svg("polyline", { points: shown.map(([t, value]) => `${x(t)},${y(value)}`).join(" ") }),
      shown.map(([t, value]) => svg("circle", { cx: x(t), cy: y(value), r: 4 }, svg("title", {}, `${name}, time step ${t}: ${exact(value)}`))));
  });
  const said = series.map(({ name, points }) => `${name}: ${points.map(([t, value]) => `${t}: ${short(value)}`).join(", ")}`).join("; ");
  return h("figure", { class: "chart" },
    h("figcaption", {}, label),
    svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": said }, lines, drawn),
    h("ul", { class: "legend" }, series.map(({ name }, k) => h("li", { class: `line${k % 4}` }, name))));
}

/** A bar for each, as long as its number. */
function barList(rows) {
  const most = Math.max(...rows.map((row) => row.size), Number.MIN_VALUE);
  return h("ul", { class: "barlist" }, rows.map(({ label, size, go, note }) => {
    const bar = h("i", {});
    bar.style.width = `${(100 * size) / most}%`;
    const name = go ? h("button", { type: "button", class: "linked", onclick: go }, label) : h("span", {}, label);
    return h("li", {}, name, h("span", { class: "bar", "aria-hidden": "true" }, bar), h("span", { class: "number", title: exact(size) }, short(size), note ?? ""));
  }));
}

/** The weights of attention in a trace, or in a fused node of it: a row for each time step, of the
 * first sentence. */
function attentionOf(trace) {
  const rows = [];
  for (const node of trace.nodes) {
    const port = node.op.includes("attention") && node.outputs.find((output) => output.name === "weights");
    if (!port) continue;
    const value = trace.values[port.slot];
    const positions = value.value.shape[value.value.shape.length - 1];
    if (!value.value.numbers || positions < 2) continue;
    // What looks at the weights is inside of the node: so is their gradient.
    const softmax = node.opened?.trace.nodes.findLast((inner) => inner.op.includes("softmax"));
    const gradient = value.gradient ?? (softmax ? node.opened.trace.values[softmax.outputs[0].slot].gradient : null);
    const first = (array) => (array?.numbers?.length === value.value.numbers.length ? array.numbers.slice(0, positions) : null);
    rows.push({ time: node.time ?? rows.length, weights: first(value.value), gradient: first(gradient) });
  }
  if (rows.length > 0) return rows.filter((row) => row.weights.length === rows[0].weights.length);
  for (const node of trace.nodes) {
    const inner = node.opened ? attentionOf(node.opened.trace) : [];
    if (inner.length > 0) return inner;
  }
  return [];
}

function attentionView(trace) {
  const rows = attentionOf(trace);
  if (rows.length === 0) return null;
  const shape = [rows.length, rows[0].weights.length];
  const gradients = rows.every((row) => row.gradient);
  return h("section", {}, h("h3", {}, "Attention"),
    h("p", { class: "quiet" }, "A row for each step of the decoder, a column for each source position, of the first sentence."),
    h("div", { class: "arrays" },
      arrayView("weights", { shape, numbers: rows.flatMap((row) => row.weights) }),
      gradients && arrayView("d_weights", { shape, numbers: rows.flatMap((row) => row.gradient) }, { gradient: true })));
}
