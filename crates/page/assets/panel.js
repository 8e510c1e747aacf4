// What is looked at: a node in one of its passes, a value, the update, or the overview.

const heading = (title, ...below) => [h("h2", {}, broken(title)), h("p", { class: "where" }, below)];

function letters(symbols) {
  return symbols?.length ? h("dl", { class: "letters" }, symbols.map(({ name, meaning }) => [h("dt", {}, name), h("dd", {}, meaning)])) : null;
}

function sourceView(excerpts, open) {
  return (excerpts ?? []).map(({ path, line, text }) =>
    h("details", { class: "source", open }, h("summary", {}, `${path}:${line}`),
      h("pre", { tabindex: "0" }, h("code", {}, text.split("\n").map((content, k) => h("span", { class: "code" }, h("span", { class: "line-number", "aria-hidden": "true" }, String(line + k)), `${content}\n`))))));
}

/** A value by its name, to go there. */
function valueLink(trace, slot, go) {
  return h("button", { type: "button", class: "linked", onclick: () => go.value(slot) }, broken(nameOf(trace, slot)));
}

function nodePanel(trace, node, index, backward, go) {
  const explanation = explained(node.explanation);
  const where = [`node ${index}`, node.scope && ` · ${node.scope}`, node.layer !== null && ` · layer ${node.layer}`, node.time !== null && ` · time step ${node.time}`];
  const distance = node.opened && Math.max(0, ...[...node.opened.outputs, ...node.opened.gradients].map((one) => real(one.distance)));
  const open = node.opened
    ? h("p", { class: "into" }, h("button", { type: "button", class: "primary", onclick: () => go.open(index) }, `Into its ${plural(node.opened.trace.nodes.length, "simpler op")}`),
      h("span", { class: "quiet" }, distance === 0 ? " with the same numbers" : ` whose numbers are at most ${short(distance)} from these`))
    : node.can_open && h("p", { class: "quiet" }, "This fused node is closed in this page.");
  const settings = node.settings && h("p", { class: "settings" }, `how it was made: ${node.settings}`);
  return [
    heading(titleOf(node), where),
    explanation?.remark && h("p", { class: "remark-text" }, explanation.remark),
    open,
    backward ? backwardPart(trace, node, explanation, go) : forwardPart(trace, node, explanation, go),
    letters([...(explanation?.inputs ?? []), ...(explanation?.outputs ?? []), ...(explanation?.symbols ?? [])]),
    explanation?.saved && h("p", { class: "quiet" }, `Kept for the backward pass: ${explanation.saved}`),
    sourceView(backward ? explanation?.backward_source : explanation?.forward_source, true),
    settings,
  ];
}

function forwardPart(trace, node, explanation, go) {
  return h("section", { class: "pass" }, h("h3", {}, "Forward"),
    h("div", { class: "formulas", role: "group", "aria-label": "formulas", tabindex: "0" }, (explanation?.forward ?? []).map(formula)),
    forwardNumbers(trace, node, go));
}

/** Whether the rule adds to the gradient that comes in at an output, as an LSTM's does to d_c'. */
function addsTo(explanation, port) {
  return (explanation?.backward ?? []).some((rule) => rule.formulas.some(({ text }) => text.startsWith(`d_${port.name} += `)));
}

/** What came in and went out on the way forward: the local rule of the way back needs it, too. */
function forwardNumbers(trace, node, go) {
  const view = (port) => arrayView({ ...called(trace, port), first: true, go: () => go.value(port.slot) }, trace.values[port.slot].value);
  return [
    h("h4", {}, "in"), h("div", { class: "arrays" }, node.inputs.map(view)),
    h("h4", {}, "out"), h("div", { class: "arrays" }, node.outputs.map(view)),
  ];
}

function backwardPart(trace, node, explanation, go) {
  return h("section", { class: "pass" }, h("h3", {}, "Backward"),
    h("h4", {}, "the gradient that comes in"),
    h("div", { class: "arrays" }, node.outputs.map((port) => {
      const value = trace.values[port.slot];
      const name = { ...gradientCalled(trace, port), go: () => go.value(port.slot) };
      if (!value.gradient) return h("p", { class: "nothing" }, headOf({ ...name, tail: " = 0" }), h("span", { class: "quiet" }, `: nothing comes in, as ${value.readers.length === 0 ? "nothing reads" : "no gradient reaches"} ${nameOf(trace, port.slot)}${addsTo(explanation, port) ? "; the rule adds to it" : ""}`));
      const parts = partsOf(value);
      return arrayView(name, value.gradient, { gradient: true, check: value.check, note: parts > 1 && `the sum of ${parts} parts` });
    })),
    h("h4", {}, "the local rule, in the node's own letters"),
    h("div", { class: "formulas", role: "group", "aria-label": "formulas", tabindex: "0" }, (explanation?.backward ?? []).map((rule) => rule.formulas.map(formula))),
    explanation?.cut && h("p", { class: "remark-text" }, explanation.cut),
    h("h4", {}, "the gradients that go out"),
    node.contributions.length === 0 && h("p", { class: "quiet" }, "none is wanted"),
    h("div", { class: "arrays" }, node.contributions.map((part) => {
      const port = node.inputs[part.input];
      const parts = partsOf(trace.values[port.slot]);
      const tail = part.time !== null && part.time !== node.time ? `, time step ${part.time}` : "";
      const name = { lead: parts > 1 || isPart(port.slot) ? "adds to " : "", ...gradientCalled(trace, port), tail, go: () => go.value(port.slot) };
      return arrayView(name, part.value, { gradient: true, check: part.check, note: parts > 1 && `one of ${parts} parts` });
    })),
    h("h3", {}, "From the way forward"),
    forwardNumbers(trace, node, go));
}

/** A value: its numbers, its gradient, and what that is the sum of. */
function valuePanel(trace, slot, go) {
  const value = trace.values[slot];
  const output = value.origin.output;
  const origin = output ? ["made by ", nodeLink(trace, output.node, false, go)] : value.origin;
  const parts = value.parts.map((part) => ({ ...part, of: trace.nodes[part.node].contributions[part.contribution] }));
  const sum = partsOf(value);
  const byTime = new Map();
  for (const part of parts) if (part.of.time !== null) byTime.set(part.of.time, [...(byTime.get(part.of.time) ?? []), normOf(part.of.value)]);
  const times = [...byTime].sort(([a], [b]) => a - b).map(([time, norms]) => [time, rootOfSquares(norms)]);
  return [
    heading(nameOf(trace, slot), origin, value.readers.length > 0 && [" · read by ", value.readers.slice(0, 8).map((reader, k) => [k > 0 && ", ", nodeLink(trace, reader, true, go)]), value.readers.length > 8 && ` and ${value.readers.length - 8} more`]),
    h("div", { class: "arrays" },
      arrayView(nameOf(trace, slot), value.value),
      value.gradient && arrayView(`${isPart(slot) ? "what the open node adds to " : ""}${gradientName(nameOf(trace, slot))}`, value.gradient, { gradient: true, check: value.check }),
      value.updated && arrayView("after the update", value.updated, { before: numbersOf(value.value) })),
    !value.gradient && h("p", { class: "quiet" }, "No gradient reaches it."),
    times.length > 1 && h("section", {}, h("h3", {}, "Over time"), h("p", { class: "quiet" }, "The norm of what each time step adds: the gradient is the sum of that, though norms do not add up."),
      barList(times.map(([time, size]) => ({ label: `time step ${time}`, size })))),
    sum > 0 && h("section", {}, h("h3", {}, sum > 1 ? `The gradient is the sum of ${sum} parts` : "Where the gradient comes from"),
      h("ol", { class: "parts" },
        value.seed && h("li", {}, h("p", {}, "from outside: here the backward pass begins"), arrayView("seed", value.seed, { gradient: true })),
        parts.map((part, k) => h("li", {}, h("p", {}, "from ", nodeLink(trace, part.node, true, go), part.of.time !== null && `, time step ${part.of.time}`),
          arrayView("adds", part.of.value, { gradient: true, check: part.of.check }), runningSum(value, parts, k))))),
  ];
}

/** The sum up to a part, where all numbers are there. */
function runningSum(value, parts, last) {
  const all = [value.seed, ...parts.slice(0, last + 1).map((part) => part.of.value)].filter(Boolean).map(numbersOf);
  if (all.some((numbers) => !numbers) || partsOf(value) < 2) return null;
  const sum = all[0].map((_, k) => all.reduce((total, numbers) => total + real(numbers[k]), 0));
  return arrayView("the sum so far", { shape: value.value.shape, numbers: sum }, { gradient: true });
}

/** A number, in few characters; all of them when one is at it. */
const numberView = (x) => h("span", { title: exact(x) }, short(x));

function nodeLink(trace, index, backward, go) {
  const node = trace.nodes[index];
  return h("button", { type: "button", class: "linked", onclick: () => go.node(index, backward) }, `${node.op}${node.time === null ? "" : ` at ${node.time}`}`);
}

function updatePanel(trace, go) {
  const { title, formulas, symbols, loss_after } = trace.update;
  const parameters = trace.values.map((value, slot) => ({ value, slot })).filter(({ value }) => value.updated);
  const change = real(loss_after) - real(trace.loss);
  return [
    heading("The update", title),
    h("div", { class: "formulas", role: "group", "aria-label": "formulas", tabindex: "0" }, formulas.map(formula)),
    letters(symbols),
    h("p", { class: "loss" }, h("span", { class: "quiet" }, "loss "), numberView(trace.loss), h("span", { class: "quiet" }, " → "), numberView(loss_after), Number.isFinite(change) && h("span", { class: "quiet" }, ` (${change < 0 ? "down" : "up"} by ${short(Math.abs(change))})`)),
    parameters.map(({ value, slot }) => h("section", {}, h("h3", {}, valueLink(trace, slot, go)),
      h("div", { class: "arrays" }, arrayView("before", value.value), arrayView("gradient", value.gradient, { gradient: true, check: value.check }), arrayView("after", value.updated, { before: numbersOf(value.value) })))),
  ];
}

function overviewPanel(trace, go) {
  const named = trace.values.map((value, slot) => ({ value, slot })).filter(({ value }) => value.origin === "parameter" || (value.origin === "input" && value.gradient));
  const norms = named.filter(({ value }) => value.gradient).map(({ value, slot }) => ({ label: nameOf(trace, slot), size: normOf(value.gradient), number: value.gradient.numbers?.length === 1 ? value.gradient.numbers[0] : normOf(value.gradient), go: () => go.value(slot), note: ` ${verdict(value.check).mark}` }));
  return [
    heading(place.path.length ? titleOf(inside(place.path.slice(0, -1)).nodes[place.path.at(-1)]) : lesson.title, trace.title),
    trace.loss !== null && trace.loss !== undefined && h("p", { class: "loss" }, h("span", { class: "quiet" }, `${trace.values.find(({ seed }) => seed)?.name || "loss"} `), numberView(trace.loss)),
    place.path.length === 0 && lesson.text.map((paragraph) => h("p", { class: "prose" }, paragraph)),
    place.path.length === 0 && lesson.look.length > 0 && [h("h3", {}, "Look at"), h("ul", { class: "prose" }, lesson.look.map((point) => h("li", {}, point)))],
    place.path.length === 0 && lesson.series.length > 0 && h("section", {}, h("h3", {}, "Norms over time"), lineChart(lesson.series, "by time step, on a logarithmic scale")),
    attentionView(trace),
    norms.length > 0 && h("section", { id: "gradients" }, h("h3", {}, "Gradients"), h("p", { class: "quiet" }, "The norm of the whole gradient of each parameter and input; of a single number its gradient itself."), barList(norms)),
  ];
}
