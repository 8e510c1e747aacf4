// Lines over time, bars, and the picture of attention.

/** So many lines are told apart: page.css has the colour and the dashes of each. */
const LINES = 6;

/** Lines over time steps, of numbers that may differ by orders of magnitude. */
function lineChart(series, label) {
  const [width, height, left, right, top, bottom] = [560, 220, 56, 16, 12, 30];
  const points = series.flatMap((one) => one.points).map(([t, y]) => [t, real(y)]);
  const logs = points.map(([, y]) => y).filter((y) => y > 0 && y < Infinity).map(Math.log10);
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
    const shown = points.filter(([, value]) => value > 0 && value < Infinity);
    return svg("g", { class: `line line${k % LINES}` },
      svg("polyline", { points: shown.map(([t, value]) => `${x(t)},${y(value)}`).join(" ") }),
      shown.map(([t, value]) => svg("circle", { cx: x(t), cy: y(value), r: 4 }, svg("title", {}, `${name}, time step ${t}: ${exact(value)}`))));
  });
  const said = series.map(({ name, points }) => `${name}: ${points.map(([t, value]) => `${t}: ${short(value)}`).join(", ")}`).join("; ");
  return h("figure", { class: "chart" },
    h("figcaption", {}, label),
    svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": said }, lines, drawn),
    h("ul", { class: "legend" }, series.map(({ name }, k) => h("li", { class: `line line${k % LINES}` }, svg("svg", { viewBox: "0 0 34 8", width: 34, height: 8, "aria-hidden": "true" }, svg("polyline", { points: "0,4 34,4" })), name))));
}

/** A bar for each, as long as its number. */
function barList(rows) {
  const most = Math.max(largestOf(rows.map((row) => row.size)), Number.MIN_VALUE);
  return h("ul", { class: "barlist" }, rows.map(({ label, size, go, note, number = size }) => {
    const bar = h("i", {});
    // What is not finite is longer than all.
    bar.style.width = `${Number.isFinite(size) ? (100 * size) / most : 100}%`;
    const name = go ? h("button", { type: "button", class: "linked", onclick: go }, broken(label)) : h("span", {}, label);
    return h("li", {}, name, h("span", { class: "bar", "aria-hidden": "true" }, bar), h("span", { class: "number", title: exact(number) }, short(number), note ?? ""));
  }));
}

/** The nodes of attention, in a trace or in its fused nodes: those of the outermost level that has any. */
function attentionOf(trace) {
  const found = trace.nodes.flatMap((node) => {
    const port = node.op.includes("attention") && node.outputs.find((output) => output.name === "weights");
    return port ? [{ node, value: trace.values[port.slot] }] : [];
  });
  if (found.length > 0) return found;
  for (const node of trace.nodes) {
    const inner = node.opened ? attentionOf(node.opened.trace) : [];
    if (inner.length > 0) return inner;
  }
  return [];
}

/** The weights of attention with their gradients: a row for each query, for one sentence and head at a time. */
function attentionView(trace) {
  const found = attentionOf(trace);
  const head = h("h3", {}, "Attention");
  if (found.length === 0) {
    const closed = [...new Set(trace.nodes.filter((node) => node.can_open && !node.opened).map((node) => node.op))];
    return closed.length > 0 && place.path.length === 0 ? h("section", {}, head, h("p", { class: "quiet" }, `None stands open in this page. It may be inside of what stays closed: ${closed.join(", ")}.`)) : null;
  }
  const large = found.find(({ value }) => value.value.summary);
  if (large) return h("section", {}, head, h("p", { class: "quiet" }, `A node has ${plural(large.value.value.shape.reduce((a, b) => a * b, 1), "weight")}: too many for this page, which has a summary of them. A larger --numbers keeps them.`));
  // [sentences, heads, queries, positions], or [sentences, positions].
  const axes = ({ shape }) => (shape.length === 4 ? shape : [shape[0], 1, 1, shape.at(-1)]);
  const [sentences, heads, queries, positions] = axes(found[0].value.value);
  if (positions < 2) return null;
  const alike = found.filter(({ value }) => String(axes(value.value)) === String(axes(found[0].value.value)));
  // What looks at the weights is inside of the node: so is their gradient.
  const gradientOf = ({ node, value }) => value.gradient ?? node.opened?.trace.values.find((inner) => inner.name === "weights")?.gradient;
  const word = queries > 1 || found[0].node.time === null ? "query" : "time step";
  const timesOf = (nodes) => nodes.flatMap(({ node }, k) => Array.from({ length: queries }, (_, query) => (queries > 1 ? query : node.time ?? k)));
  const shown = (array, sentence, headed) => array.numbers.slice((sentence * heads + headed) * queries * positions).slice(0, queries * positions);
  const into = h("div", { class: "arrays" });
  const draw = (sentence, headed) => {
    const view = (name, nodes, arrayOf, gradient) => {
      const times = timesOf(nodes);
      const numbers = nodes.flatMap((one) => shown(arrayOf(one), sentence, headed));
      const said = (at) => `${name} of source position ${at % positions}, ${word} ${times[Math.floor(at / positions)]} = ${exact(numbers[at])}`;
      return arrayView(name, { shape: [times.length, positions], numbers }, { gradient, said });
    };
    into.replaceChildren(view("weights", alike, ({ value }) => value.value, false));
    const open = alike.filter((one) => gradientOf(one)?.numbers);
    if (open.length > 0) into.append(view("d_weights", open, gradientOf, true));
    if (open.length < alike.length) into.append(h("p", { class: "quiet" }, `The other gradients are inside of ${plural(alike.length - open.length, "node")} that stay closed in this page.`));
  };
  const choice = (of, count) => count > 1 && h("label", {}, h("span", { class: "quiet" }, `${of} `), h("select", { "data-choice": of, onchange: () => draw(...["sentence", "head"].map((one) => Number(section.querySelector(`[data-choice=${one}]`)?.value ?? 0))) }, Array.from({ length: count }, (_, k) => h("option", { value: String(k) }, String(k + 1)))));
  const section = h("section", {}, head,
    h("p", { class: "quiet" }, `A row for each ${word}, a column for each source position.`),
    h("p", { class: "choices" }, choice("sentence", sentences), choice("head", heads)), into);
  draw(0, 0);
  return section;
}
