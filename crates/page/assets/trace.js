// The data, and where one is in it.

const { lesson, graphs } = JSON.parse(byId("data").textContent);

/** Where one is: a computation, the fused nodes that are open, and a step, a value or the overview. */
const place = { trace: 0, path: [], step: 0, look: "overview", slot: 0 };

const root = () => lesson.traces[place.trace];

/** The trace inside of these fused nodes; null when there is none. */
function inside(path, from = root()) {
  let trace = from;
  for (const index of path) {
    trace = trace?.nodes[index]?.opened?.trace ?? null;
  }
  return trace;
}

const here = () => inside(place.path);

/** Whether all that the open nodes add to a value's gradient is a part of it: others outside add theirs. */
function isPart(slot, path = place.path) {
  if (path.length === 0) return false;
  const outside = inside(path.slice(0, -1));
  // The first values inside are the inputs of the node.
  const port = outside.nodes[path.at(-1)].inputs[slot];
  return port !== undefined && (partsOf(outside.values[port.slot]) > 1 || isPart(port.slot, path.slice(0, -1)));
}
/** Where its nodes stand. */
const graphHere = () => graphs[[place.trace, ...place.path].join("/")];
const explained = (op) => root().explanations?.[op] ?? null;
const titleOf = (node) => explained(node.explanation)?.title ?? node.op;

const isForward = (step) => step !== "update" && step.forward !== undefined;
const nodeOf = (step) => (step === "update" ? null : (step.forward ?? step.backward));
/** The step of a node in a pass; the forward one where no gradient reaches it. */
function stepOf(trace, index, backward) {
  const find = (pass) => trace.steps.findIndex((step) => step !== "update" && step[pass] === index);
  const step = backward ? find("backward") : -1;
  return step < 0 ? find("forward") : step;
}
const firstBackward = (trace) => trace.steps.findIndex((step) => step !== "update" && step.backward !== undefined);

/** What a value is called: its own name, or the op's name for it. */
function nameOf(trace, slot) {
  const value = trace.values[slot];
  if (value.name) return value.name;
  const output = value.origin.output;
  if (output) {
    const node = trace.nodes[output.node];
    return `${node.outputs[output.output]?.name ?? "y"} of ${node.op} ${output.node}`;
  }
  return `value ${slot}`;
}

/** The value of a port by its name, and by the node's own letter where that is another: `w`, here `x`. */
function called(trace, { name, slot }) {
  const own = nameOf(trace, slot);
  return { own, here: own === name ? null : name };
}

/** Whether a dotted name ends in the node's own letter, as `decoder.l0.weight_hh` does in `weight_hh`: it says enough. */
const isEnd = (name, letter) => name.endsWith(`.${letter}`);

/** The gradient at a port, the same: `d_w`, here `d_x`. */
function gradientCalled(trace, port) {
  const { own, here } = called(trace, port);
  return { own: gradientName(own), here: here && !isEnd(own, here) ? gradientName(here) : null };
}

/** The gradient of a value of this name: `d_w`, and of a product `d_(f⊙c)`, as `d_f⊙c` were another product. */
const gradientName = (name) => (/[⊙·+−/]/.test(name) ? `d_(${name})` : `d_${name}`);

/** A name in words, or that of the number at a place: `d_w[1] (here d_x[1])`. Most names are texts. */
function wordsOf(name, at = "") {
  if (typeof name === "string") return `${name}${at}`;
  const { lead = "", own, here, tail = "" } = name;
  return `${lead}${own}${at}${here && !isEnd(own, here) ? ` (here ${here}${at})` : ""}${tail}`;
}

/** So many parts a gradient is the sum of. */
const partsOf = (value) => value.parts.length + (value.seed ? 1 : 0);

const numbersOf = (array) => array.numbers ?? null;

function normOf(array) {
  if (!array) return 0;
  return array.summary ? real(array.summary.norm) : rootOfSquares(array.numbers);
}

/** The place of a number as it is written, `[2,0]`; of one alone nothing. */
function indexOf(at, shape) {
  const index = [];
  for (const size of [...shape].reverse()) { index.unshift(at % size); at = Math.floor(at / size); }
  return shape.length === 0 ? "" : `[${index.join(",")}]`;
}

const shapeOf = (array) => (array.shape.length === 0 ? "a number" : `[${array.shape.join(", ")}]`);

const MARKS = { right: "✓", wrong: "✗", untold: "–", unchecked: "–" };

/** What a check found: a mark, a word for its state, a sentence. */
function verdict(check) {
  const state = check?.verdict ?? "unchecked";
  return { mark: MARKS[state], state, text: sentenceOf(check, state) };
}

function sentenceOf(check, state) {
  const remark = check?.remark ? `; ${check.remark}` : "";
  if (state === "unchecked") return `not checked: ${check?.remark || "nothing to compare with"}`;
  if (state === "untold") return `cannot be told: ${check.untold[0]?.reason ?? ""}${remark}`;
  const against = {
    differences: "finite differences of this node",
    whole: "finite differences of the whole computation",
    twin: "the simpler ops inside",
    sum: "the sum of its parts, which are checked themselves",
  }[check.method];
  if (state === "wrong") return `${plural(check.wrong.length, "number")} wrong against ${against}${remark}`;
  const count = (check.at?.length || check.of) - (check.untold?.length ?? 0);
  return `${count === check.of ? "all" : `${count} of ${check.of}`} compared with ${against}, off by ${short(check.error)} of the largest${remark}`;
}

/** What was found at one place: null where nothing was compared. */
function found(check, at) {
  if (!check || check.method === "none") return null;
  const untold = check.untold?.find((one) => one.at === at);
  if (untold) return { mark: "–", state: "untold", text: `cannot be told: ${untold.reason}` };
  const number = check.at?.length ? check.at.indexOf(at) : at;
  if (number < 0) return null;
  const value = check.found?.[number];
  const wrong = check.wrong?.includes(at);
  const text = value === undefined ? "compared" : `${wrong ? "should be" : "found"} ${exact(value)}`;
  return { mark: wrong ? "✗" : "✓", state: wrong ? "wrong" : "right", text };
}

/** The place as a link: `#t0/o12/n3/forward`. */
function link(to = place) {
  const open = to.path.map((index) => `o${index}/`).join("");
  const start = `#t${to.trace}/${open}`;
  if (to.look === "value") return `${start}v${to.slot}`;
  if (to.look === "overview") return `${start}overview`;
  const step = inside(to.path, lesson.traces[to.trace])?.steps[to.step];
  if (step === undefined) return `${start}overview`;
  return step === "update" ? `${start}update` : `${start}n${nodeOf(step)}/${isForward(step) ? "forward" : "backward"}`;
}

/** The place of a link; null when there is no such place. */
function placeOf(hash) {
  const parts = hash.replace(/^#/, "").split("/");
  const number = (text, letter) => (new RegExp(`^${letter}\\d+$`).test(text ?? "") ? Number(text.slice(1)) : null);
  const to = { trace: number(parts.shift(), "t"), path: [], step: 0, look: "step", slot: 0 };
  if (to.trace === null || !lesson.traces[to.trace]) return null;
  while (number(parts[0], "o") !== null) to.path.push(number(parts.shift(), "o"));
  const trace = inside(to.path, lesson.traces[to.trace]);
  if (!trace) return null;
  const [what, pass] = parts;
  if (what === "overview") return { ...to, look: "overview" };
  const slot = number(what, "v");
  if (slot !== null) return trace.values[slot] ? { ...to, look: "value", slot } : null;
  const node = number(what, "n");
  to.step = trace.steps.findIndex((step) => (what === "update" ? step === "update" : node !== null && step !== "update" && (pass === "backward" ? step.backward : step.forward) === node));
  return to.step < 0 ? null : to;
}
