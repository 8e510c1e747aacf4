// The computation as a graph: rows are layers and scopes, columns are what depends on what, in the
// order of time steps.

const LABELLED = 150; // More nodes than that are small, and say what they are when one is at them.

const STACKED = 7; // More leaves than that do not stand above each other.

/** Where each node and each leaf stands. */
function layout(trace) {
  const nodes = trace.nodes;
  const maker = (slot) => trace.values[slot].origin.output?.node ?? null;
  // Nodes belong to a time step; those without one come before or behind the steps. Where steps
  // begin again behind such a node, as a decoder's do, so does the count.
  const group = [];
  nodes.forEach((node, index) => {
    const from = node.inputs.map(({ slot }) => maker(slot)).filter((made) => made !== null && made < index).map((made) => group[made]);
    const phase = Math.max(0, ...from.map(([before, time]) => (time === Infinity && node.time !== null ? before + 1 : before)));
    const timed = from.some(([before, time]) => before === phase && time >= 0) || phase > 0;
    group[index] = [phase, node.time ?? (timed ? Infinity : -1)];
  });
  const key = ([phase, time]) => `${phase}/${time}`;
  const groups = [...new Map(group.map((one) => [key(one), one])).values()].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const depth = [];
  nodes.forEach((node, index) => {
    const from = node.inputs.map(({ slot }) => maker(slot)).filter((made) => made !== null && made < index && key(group[made]) === key(group[index]));
    depth[index] = Math.max(0, ...from.map((made) => depth[made] + 1));
  });
  const start = new Map();
  const bands = [];
  let next = 0;
  for (const one of groups) {
    const width = 1 + Math.max(...nodes.map((_, index) => (key(group[index]) === key(one) ? depth[index] : 0)));
    start.set(key(one), next);
    if (one[1] >= 0 && one[1] !== Infinity) bands.push({ from: next, width, time: one[1] });
    next += width;
  }
  const places = nodes.map((node, index) => ({ kind: "node", index, column: start.get(key(group[index])) + depth[index], row: node.scope }));
  const labelled = nodes.length <= LABELLED;
  let leaves = trace.values.flatMap((value, slot) => {
    const leaf = !value.origin.output && value.readers.length > 0 && (labelled || value.origin === "parameter");
    return leaf ? [{ kind: "leaf", slot, column: Math.min(...value.readers.map((reader) => places[reader].column)), row: null }] : [];
  });
  // Where a layer has so many weights that they hide it, those that it alone reads are left to it.
  const inColumn = (column) => leaves.filter((one) => one.column === column).length;
  const full = new Set(leaves.map((one) => one.column).filter((column) => inColumn(column) > STACKED));
  leaves = leaves.filter((one) => !full.has(one.column) || trace.values[one.slot].readers.length > 1);
  places.push(...leaves);
  const rows = [null, ...new Set(nodes.map((node) => node.scope))].filter((row) => row !== null || places.some((one) => one.kind === "leaf"));
  const stacks = new Map();
  const heights = rows.map(() => 1);
  for (const one of places) {
    const at = `${one.row}/${one.column}`;
    one.level = stacks.get(at) ?? 0;
    stacks.set(at, one.level + 1);
    const row = rows.indexOf(one.row);
    heights[row] = Math.max(heights[row], one.level + 1);
  }
  const [w, hgt, gapX, gapY] = labelled ? [104, 30, 34, 10] : [22, 18, 10, 5];
  const tops = [];
  let y = bands.length ? 26 : 8;
  rows.forEach((_, row) => { tops[row] = y; y += heights[row] * (hgt + gapY) + 14; });
  for (const one of places) {
    one.x = 8 + one.column * (w + gapX);
    one.y = tops[rows.indexOf(one.row)] + one.level * (hgt + gapY) + 8;
  }
  return { places, bands: bands.map((band) => ({ ...band, x: 8 + band.from * (w + gapX) - gapX / 2, width: band.width * (w + gapX) })), rows: rows.map((name, row) => ({ name, y: tops[row] })),
    w, h: hgt, width: 16 + next * (w + gapX), height: y, labelled };
}

/** Draws a trace into an element; gives what shows a step in it. */
function drawGraph(into, trace, { onNode, onValue }) {
  const plan = layout(trace);
  const nodePlaces = plan.places.slice(0, trace.nodes.length);
  const leafPlaces = new Map(plan.places.slice(trace.nodes.length).map((one) => [one.slot, one]));
  const buttons = new Map();
  const edges = [];
  trace.nodes.forEach((node, index) => {
    node.inputs.forEach(({ slot, name }, input) => {
      const made = trace.values[slot].origin.output?.node;
      const from = made === undefined ? leafPlaces.get(slot) : nodePlaces[made];
      if (!from) return;
      const to = nodePlaces[index];
      const norm = Math.hypot(...node.contributions.filter((part) => part.input === input).map((part) => normOf(part.value)));
      const [x1, y1, x2, y2] = [from.x + plan.w, from.y + plan.h / 2, to.x, to.y + plan.h / 2];
      const bend = Math.max(14, Math.abs(x2 - x1) / 2.4);
      const top = to.x + (plan.w * (input + 1)) / (node.inputs.length + 1);
      const path = from.kind === "leaf"
        ? `M${x1},${y1} C${x1 + 26},${y1} ${top},${to.y - 30} ${top},${to.y}`
        : `M${x1},${y1} C${x1 + bend},${y1} ${x2 - bend},${y2} ${x2},${y2}`;
      const line = svg("path", { d: path, class: "edge" }, svg("title", {}, `${nameOf(trace, slot)} → ${name} of ${node.op}${norm ? `; gradient back: norm ${short(norm)}` : ""}`));
      edges.push({ line, node: index, made, norm });
    });
  });
  const most = Math.max(...edges.map((edge) => edge.norm), Number.MIN_VALUE);
  for (const edge of edges) {
    // By orders of magnitude, as gradients differ by them.
    const share = edge.norm > 0 ? Math.max(0, 1 + Math.log10(edge.norm / most) / 4) : 0;
    edge.line.style.setProperty("--flow", String(1 + 3.5 * share));
    edge.line.style.setProperty("--strength", String(edge.norm > 0 ? 0.25 + 0.75 * share : 0.12));
  }
  const button = (one, text, said, classes, go) => {
    const element = h("button", { type: "button", class: classes, tabindex: "-1", "aria-label": said, title: said, onclick: go }, plan.labelled ? h("span", {}, text) : null);
    Object.assign(element.style, { left: `${one.x}px`, top: `${one.y}px`, width: `${plan.w}px`, height: `${plan.h}px` });
    return element;
  };
  for (const one of plan.places) {
    if (one.kind === "leaf") {
      const value = trace.values[one.slot];
      buttons.set(`v${one.slot}`, button(one, nameOf(trace, one.slot).split(".").at(-1), `${value.origin} ${nameOf(trace, one.slot)}`, `leaf ${value.origin}`, () => onValue(one.slot)));
    } else {
      const node = trace.nodes[one.index];
      const time = node.time === null ? "" : `, time step ${node.time}`;
      buttons.set(`n${one.index}`, button(one, node.op.replaceAll("_", " "), `node ${one.index}, ${titleOf(node)}${node.scope ? `, ${node.scope}` : ""}${time}`, node.opened ? "node opens" : "node", () => onNode(one.index)));
    }
  }
  const canvas = h("div", { class: "canvas" },
    svg("svg", { width: plan.width, height: plan.height, "aria-hidden": "true" },
      plan.bands.map((band) => [svg("rect", { x: band.x, y: 0, width: band.width, height: plan.height, class: band.time % 2 ? "band odd" : "band" }), svg("text", { x: band.x + band.width / 2, y: 15, "text-anchor": "middle", class: "time" }, plan.labelled || band.width > 26 ? (plan.labelled ? `t = ${band.time}` : band.time) : "")]),
      edges.map((edge) => edge.line)),
    h("div", { class: "rows", "aria-hidden": "true" }, plan.rows.map(({ name, y }) => { const label = h("span", { class: "row" }, name || ""); label.style.top = `${y - 6}px`; return label; })),
    [...buttons.values()]);
  Object.assign(canvas.style, { width: `${plan.width}px`, height: `${plan.height}px` });
  into.replaceChildren(canvas);

  /** Arrow keys go to the nearest node in their direction. */
  canvas.addEventListener("keydown", (event) => {
    const way = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key];
    const now = [...buttons].find(([, element]) => element === document.activeElement);
    if (!way || !now) return;
    event.preventDefault();
    event.stopPropagation();
    const all = plan.places.map((one) => [one, buttons.get(one.kind === "leaf" ? `v${one.slot}` : `n${one.index}`)]);
    const at = all.find(([, element]) => element === now[1])[0];
    const far = ([one]) => { const [dx, dy] = [one.x - at.x, one.y - at.y]; const ahead = dx * way[0] + dy * way[1]; return ahead <= 0 ? Infinity : ahead + 3 * Math.abs(dx * way[1] + dy * way[0]); };
    const next = all.reduce((best, one) => (far(one) < far(best) ? one : best), all[0]);
    if (far(next) < Infinity) next[1].focus();
  });

  return function show(step, chosen) {
    const backward = step >= 0 && trace.steps[step] !== undefined && !isForward(trace.steps[step]);
    const done = new Set(trace.steps.slice(0, step + 1).filter((one) => one === "update" || isForward(one) !== backward).map(nodeOf));
    canvas.classList.toggle("backward", backward);
    let first = null;
    for (const [key, element] of buttons) {
      const index = key.startsWith("n") ? Number(key.slice(1)) : null;
      const current = key === chosen;
      element.classList.toggle("current", current);
      element.classList.toggle("done", index !== null && done.has(index));
      element.setAttribute("tabindex", current ? "0" : "-1");
      if (current) { element.setAttribute("aria-current", "step"); first = element; } else element.removeAttribute("aria-current");
    }
    if (!first) buttons.values().next().value?.setAttribute("tabindex", "0");
    for (const edge of edges) {
      edge.line.classList.toggle("flows", backward && done.has(edge.node));
      edge.line.classList.toggle("done", !backward && done.has(edge.node));
      edge.line.classList.toggle("now", chosen === `n${edge.node}` || (!backward && edge.made !== undefined && chosen === `n${edge.made}`));
    }
    if (first) {
      const [box, frame] = [first.getBoundingClientRect(), into.getBoundingClientRect()];
      if (box.left < frame.left + 40 || box.right > frame.right - 40) into.scrollLeft += box.left - frame.left - frame.width / 2 + box.width / 2;
      if (box.top < frame.top || box.bottom > frame.bottom) into.scrollTop += box.top - frame.top - frame.height / 2;
    }
  };
}
