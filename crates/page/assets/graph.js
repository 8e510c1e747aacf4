// The computation as a graph: rows are layers and scopes, columns are what depends on what, in the
// order of time steps.

const LABELLED = 150; // More nodes than that are small, and say what they are when one is at them.

const WIDEST = 180; // A longer label is cut.

const SMALLEST = 0.8; // A graph that is not much too wide is made smaller, so far that it can be read.

const APART = 3; // Edges of different values are so far apart where they pass a column.

/** What the leaves are called: as much of their dotted names, from the end, as tells them apart. */
function leafNames(trace, slots) {
  const end = (slot, parts) => nameOf(trace, slot).split(".").slice(-parts).join(".");
  const names = new Map();
  for (const slot of slots) {
    let parts = 1;
    while (parts < 9 && slots.some((other) => other !== slot && end(other, parts) === end(slot, parts))) parts++;
    names.set(slot, end(slot, parts));
  }
  return names;
}

/** The width of a text in the graph. */
function widthOf(text) {
  widthOf.ruler ??= Object.assign(document.createElement("canvas").getContext("2d"), { font: `650 12.5px ${getComputedStyle(document.body).fontFamily}` });
  return widthOf.ruler.measureText(text).width;
}

/** Where each node and each leaf stands, in pixels. The columns, rows and levels come with the data. */
function placed(trace, graph) {
  const labelled = trace.nodes.length <= LABELLED;
  const [height, gapX, gapY] = labelled ? [30, 28, 10] : [18, 10, 5];
  const names = leafNames(trace, graph.leaves.map(([slot]) => slot));
  const places = [
    ...graph.nodes.map(([column, row, level], index) => ({ kind: "node", index, column, row, level, label: trace.nodes[index].op.replaceAll("_", " ") })),
    ...graph.leaves.map(([slot, column, level]) => ({ kind: "leaf", slot, column, row: 0, level, label: names.get(slot) })),
  ];
  // A column is as wide as its widest label.
  const widths = Array.from({ length: graph.columns }, () => (labelled ? 48 : 22));
  if (labelled) for (const { column, label } of places) widths[column] = Math.max(widths[column], Math.min(WIDEST, Math.ceil(widthOf(label)) + 20));
  const lefts = [];
  let x = 22;
  for (const width of widths) { lefts.push(x); x += width + gapX; }
  const right = Math.max(22, x - gapX);
  const tops = [];
  let y = graph.steps.length ? 26 : 8;
  for (const { levels } of graph.rows) { tops.push(y); if (levels > 0) y += levels * (height + gapY) + 14; }
  for (const one of places) Object.assign(one, { x: lefts[one.column], width: widths[one.column], y: tops[one.row] + one.level * (height + gapY) + 8 });
  const bands = graph.steps.map(({ time, column, columns }) => {
    const [from, to] = [lefts[column], lefts[column + columns - 1] + widths[column + columns - 1]];
    return { time, x: from - gapX / 2, width: to - from + gapX };
  });
  const rows = graph.rows.map(({ name }, row) => ({ name, y: tops[row] }));
  const columns = lefts.map((left, column) => ({ left, right: left + widths[column], tops: places.filter((one) => one.column === column).map((one) => one.y) }));
  return { places, bands, rows, columns, height, gapX, gapY, labelled, size: [right + 16, y] };
}

/**
 * Gives the way of an edge, from the place of a value to that of its reader: between columns it bends,
 * and past a column it goes level, where no box is. All edges of a value pass a column at one height.
 */
function router({ columns, bands, height, gapX, gapY, size: [, bottom] }) {
  const top = bands.length ? 22 : 2; // Beneath the numbers of time steps.
  const margin = gapY / 2 - 1;
  const passed = columns.map(() => new Map());
  const pass = (column, value, wanted) => {
    const heights = passed[column];
    if (heights.has(value)) return heights.get(value);
    const free = (y) => y >= top && y <= bottom && columns[column].tops.every((box) => y <= box - margin || y >= box + height + margin);
    const alone = (y) => [...heights.values()].every((other) => Math.abs(other - y) >= APART);
    const near = Array.from({ length: Math.ceil(bottom / APART) + 1 }, (_, k) => [wanted - k * APART, wanted + k * APART]).flat();
    const y = near.find((y) => free(y) && alone(y)) ?? near.find(free) ?? bottom;
    heights.set(value, y);
    return y;
  };
  return (value, from, to, arrival) => {
    let y = from.y + height / 2;
    if (from.column >= to.column) {
      // A leaf above its reader: out to the left, the further the longer the way is.
      const out = gapX * (0.4 + (0.5 * (arrival - y)) / bottom);
      return `M${from.x},${y} C${from.x - out},${y} ${to.x - out},${arrival} ${to.x},${arrival}`;
    }
    let x = from.x + from.width;
    let way = `M${x},${y}`;
    const bend = (toX, toY) => { const middle = (x + toX) / 2; way += ` C${middle},${y} ${middle},${toY} ${toX},${toY}`; [x, y] = [toX, toY]; };
    for (let column = from.column + 1; column < to.column; column++) {
      bend(columns[column].left, pass(column, value, y));
      x = columns[column].right;
      way += ` H${x}`;
    }
    bend(to.x, arrival);
    return way;
  };
}

/** Draws a trace into an element; gives what shows a step in it. */
function drawGraph(into, trace, graph, { onNode, onValue }) {
  const plan = placed(trace, graph);
  const nodePlaces = plan.places.slice(0, trace.nodes.length);
  const way = router(plan);
  const leafPlaces = new Map(plan.places.slice(trace.nodes.length).map((one) => [one.slot, one]));
  const buttons = new Map();
  const edges = [];
  trace.nodes.forEach((node, index) => {
    node.inputs.forEach(({ slot, name }, input) => {
      const made = trace.values[slot].origin.output?.node;
      const from = made === undefined ? leafPlaces.get(slot) : nodePlaces[made];
      if (!from) return;
      const to = nodePlaces[index];
      const norm = real(node.flows[input]);
      const arrival = to.y + (plan.height * (input + 1)) / (node.inputs.length + 1);
      const line = svg("path", { d: way(slot, from, to, arrival), class: "edge" }, svg("title", {}, `${nameOf(trace, slot)} → ${name} of ${node.op}${norm !== 0 ? `; gradient back: norm ${short(norm)}` : ""}`));
      edges.push({ line, node: index, made, norm });
    });
  });
  const most = Math.max(largestOf(edges.map((edge) => edge.norm)), Number.MIN_VALUE);
  for (const edge of edges) {
    // By orders of magnitude, as gradients differ by them; what is not finite is the largest.
    const share = !Number.isFinite(edge.norm) ? 1 : edge.norm > 0 ? Math.max(0, 1 + Math.log10(edge.norm / most) / 4) : 0;
    edge.line.style.setProperty("--flow", String(1 + 3.5 * share));
    edge.line.style.setProperty("--strength", String(edge.norm === 0 ? 0.12 : 0.25 + 0.75 * share));
  }
  const button = (one, said, classes, go) => {
    const element = h("button", { type: "button", class: classes, tabindex: "-1", "aria-label": said, title: said, onclick: go }, plan.labelled ? h("span", {}, one.label) : null);
    Object.assign(element.style, { left: `${one.x}px`, top: `${one.y}px`, width: `${one.width}px`, height: `${plan.height}px` });
    return element;
  };
  for (const one of plan.places) {
    if (one.kind === "leaf") {
      const value = trace.values[one.slot];
      buttons.set(`v${one.slot}`, button(one, `${value.origin} ${nameOf(trace, one.slot)}`, `leaf ${value.origin}`, () => onValue(one.slot)));
    } else {
      const node = trace.nodes[one.index];
      const time = node.time === null ? "" : `, time step ${node.time}`;
      buttons.set(`n${one.index}`, button(one, `node ${one.index}, ${titleOf(node)}${node.scope ? `, ${node.scope}` : ""}${time}`, node.opened ? "node opens" : "node", () => onNode(one.index)));
    }
  }
  const [width, height] = plan.size;
  const canvas = h("div", { class: "canvas" },
    svg("svg", { width, height, "aria-hidden": "true" },
      plan.bands.map((band, number) => [svg("rect", { x: band.x, y: 0, width: band.width, height, class: number % 2 ? "band odd" : "band" }), svg("text", { x: band.x + band.width / 2, y: 15, "text-anchor": "middle", class: "time" }, plan.labelled || band.width > 26 ? (plan.labelled ? `t = ${band.time}` : band.time) : "")]),
      edges.map((edge) => edge.line)),
    h("div", { class: "rows", "aria-hidden": "true" }, plan.rows.map(({ name, y }) => { const label = h("span", { class: "row" }, name || ""); label.style.top = `${y - 6}px`; return label; })),
    [...buttons.values()]);
  Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
  Object.assign(canvas.dataset, { width, height });
  into.replaceChildren(h("div", { class: "sized" }, canvas));
  into.scrollTo(0, 0);
  fit();

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
      if (box.top < frame.top + 24 || box.bottom > frame.bottom - 24) into.scrollTop += box.top - frame.top - frame.height / 2;
    }
    hints();
  };
}

/** Makes the graph that is drawn smaller, if it then has room; on paper however small it gets. */
function fit(paper = 0) {
  const canvas = document.querySelector("#graph .canvas");
  if (!canvas) return;
  const [width, height] = [Number(canvas.dataset.width), Number(canvas.dataset.height)];
  const share = (paper || byId("graph").clientWidth) / width;
  const scale = share < 1 && (paper || share >= SMALLEST) ? share : 1;
  canvas.style.transform = scale === 1 ? "" : `scale(${scale})`;
  Object.assign(canvas.parentElement.style, { width: `${Math.floor(width * scale)}px`, height: `${Math.floor(height * scale)}px` });
  hints();
}

/** Says at its edges where there is more of the graph. */
function hints() {
  const { scrollLeft, scrollTop, scrollWidth, scrollHeight, clientWidth, clientHeight } = byId("graph");
  byId("more-left").hidden = scrollLeft < 4;
  byId("more-right").hidden = scrollLeft + clientWidth > scrollWidth - 4;
  byId("more-up").hidden = scrollTop < 4;
  byId("more-down").hidden = scrollTop + clientHeight > scrollHeight - 4;
}
