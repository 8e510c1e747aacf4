// Puts the parts together: where one is, what is shown, keys and buttons.

let show = null; // Shows a step in the graph that is drawn.
let drawn = ""; // Which trace that graph is of.
let timer = null;

const PAPER = 660; // So wide is what a sheet of A4 or letter has room for.

const go = {
  step: (step) => move({ step: Math.min(Math.max(step, 0), here().steps.length - 1), look: "step" }),
  node: (index, backward) => move({ step: stepOf(here(), index, backward), look: "step" }, true),
  value: (slot) => move({ slot, look: "value" }, true),
  // Whoever walks backward goes on backward, inside and when going out.
  open: (index) => {
    const path = [...place.path, index];
    const trace = inside(path);
    if (!trace) return;
    const step = backwardNow() ? firstBackward(trace) : -1;
    move(step < 0 ? { path, step: 0, look: "overview" } : { path, step, look: "step" }, true);
  },
  out: () => {
    if (place.path.length === 0) return;
    const index = place.path.at(-1);
    const path = place.path.slice(0, -1);
    move({ path, step: stepOf(inside(path), index, backwardNow()), look: "step" }, true);
  },
  overview: () => move({ look: "overview" }, true),
};

/** Goes somewhere; a jump can be gone back from with the browser's button. */
function move(to, jump = false) {
  Object.assign(place, to);
  if (jump) location.hash = link();
  else if (location.hash !== link()) location.replace(link());
  render();
}

window.addEventListener("hashchange", () => {
  if (location.hash === link()) return; // It was us.
  const to = placeOf(location.hash);
  if (to) {
    // The overview and a value leave the slider where it was.
    const same = to.trace === place.trace && String(to.path) === String(place.path);
    Object.assign(place, to, to.look === "step" || !same ? {} : { step: place.step });
  }
  render();
});

function render() {
  const trace = here();
  const id = `${place.trace}/${place.path}`;
  if (drawn !== id) {
    show = drawGraph(byId("graph"), trace, graphHere(), { onNode: (index) => go.node(index, backwardNow()), onValue: go.value });
    drawn = id;
  }
  const step = trace.steps[place.step];
  const node = step === undefined || step === "update" ? null : trace.nodes[nodeOf(step)];
  const at = place.look === "value" ? `v${place.slot}` : place.look === "step" && node ? `n${nodeOf(step)}` : "";
  show(place.look === "overview" ? -1 : place.step, at);
  const content = place.look === "overview" ? overviewPanel(trace, go)
    : place.look === "value" ? valuePanel(trace, place.slot, go)
    : step === "update" ? updatePanel(trace, go)
    : nodePanel(trace, node, nodeOf(step), !isForward(step), go);
  readOut("");
  byId("panel").replaceChildren(...[content].flat(9).filter((one) => one instanceof window.Node));
  byId("status").textContent = sentence(trace, step, node);
  const slider = byId("slider");
  slider.max = String(trace.steps.length - 1);
  slider.value = String(place.step);
  slider.setAttribute("aria-valuetext", `${place.step + 1} of ${trace.steps.length}`);
  byId("forward").setAttribute("aria-pressed", String(place.look !== "overview" && !backwardNow()));
  byId("backward").setAttribute("aria-pressed", String(place.look !== "overview" && step !== "update" && backwardNow()));
  byId("backward").disabled = firstBackward(trace) < 0;
  byId("overview").setAttribute("aria-pressed", String(place.look === "overview"));
  byId("traces").value = String(place.trace);
  crumbs();
}

const backwardNow = () => { const step = here().steps[place.step]; return step !== undefined && !isForward(step); };

/** Where one is, in a sentence. */
function sentence(trace, step, node) {
  if (place.look === "overview") return `Overview of ${trace.title}. ${plural(trace.nodes.length, "node")}, ${plural(trace.steps.length, "step")}.`;
  if (place.look === "value") return `The value ${nameOf(trace, place.slot)}.`;
  const count = `Step ${place.step + 1} of ${trace.steps.length}`;
  if (step === "update") return `${count}: the update. The loss goes from ${short(trace.loss)} to ${short(trace.update.loss_after)}.`;
  const time = node.time === null ? "" : `, time step ${node.time}`;
  if (isForward(step)) return `${count}, forward: ${titleOf(node)}${time}.`;
  const norm = rootOfSquares(node.outputs.map(({ slot }) => normOf(trace.values[slot].gradient)));
  return `${count}, backward: ${titleOf(node)}${time}. A gradient of norm ${short(norm)} comes in.`;
}

function crumbs() {
  const links = [h("button", { type: "button", class: "linked", onclick: () => move({ path: [], step: 0, look: "overview" }, true) }, root().title)];
  place.path.forEach((index, depth) => {
    const node = inside(place.path.slice(0, depth)).nodes[index];
    const last = depth === place.path.length - 1;
    links.push(h("span", { "aria-hidden": "true" }, " › "), h("button", { type: "button", class: "linked", "aria-current": last ? "location" : null, onclick: () => move({ path: place.path.slice(0, depth + 1), step: 0, look: "overview" }, true) }, `${node.op}${node.time === null ? "" : ` at ${node.time}`}`));
  });
  if (place.path.length) links.push(h("button", { type: "button", class: "out", onclick: go.out }, "out"));
  byId("crumbs").replaceChildren(...links);
}

function play(on) {
  clearInterval(timer);
  timer = on ? setInterval(() => { if (place.step >= here().steps.length - 1) play(false); else go.step(place.step + 1); }, Number(byId("speed").value)) : null;
  byId("play").textContent = timer ? "pause" : "play";
  byId("play").setAttribute("aria-label", timer ? "Pause" : "Play");
}

/** Play begins where one is, or at the first step; one step on from the overview is the first. */
function onwards(by) { go.step(place.look === "overview" && by > 0 ? 0 : place.step + by); }
function toPass(backward) { go.step(backward ? Math.max(0, firstBackward(here())) : 0); }
function togglePlay() {
  if (!timer && (place.look === "overview" || place.step >= here().steps.length - 1)) go.step(0);
  play(!timer);
}

function theme() {
  const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
}

// Search: nodes by title, op, scope and time step; values by name.
function candidates(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return [];
  // First what is at hand, then what is outside of it: the parameters of a model are.
  const levels = place.path.map((_, depth) => place.path.slice(0, depth)).reverse();
  const rows = [place.path, ...levels].flatMap((path) => {
    const trace = inside(path);
    const outside = path.length < place.path.length ? `, in ${trace.title}` : "";
    // Whoever goes out is at the overview there, until more is said.
    const there = () => { if (outside) Object.assign(place, { path, step: 0, look: "overview" }); };
    return [
      ...trace.values.map((value, slot) => ({ text: nameOf(trace, slot), kind: `${typeof value.origin === "string" ? value.origin : "value"}${outside}`, go: () => { there(); go.value(slot); } })),
      ...trace.nodes.map((node, index) => ({ text: `${node.op} ${node.scope}${node.time === null ? "" : ` time ${node.time}`}`, extra: titleOf(node), kind: `node ${index}${outside}`, go: () => { const backward = backwardNow(); there(); go.node(index, backward); } })),
    ];
  });
  const matches = (row) => words.every((word) => `${row.text} ${row.extra ?? ""} ${row.kind}`.toLowerCase().includes(word));
  return rows.filter(matches).slice(0, 30);
}

let chosen = 0;
function listFound() {
  const rows = candidates(byId("search").value);
  chosen = Math.min(chosen, Math.max(0, rows.length - 1));
  byId("found").replaceChildren(...rows.map((row, k) => h("div", { role: "option", id: `found-${k}`, "aria-selected": String(k === chosen), onclick: () => pick(row) }, row.text, h("span", { class: "quiet" }, ` ${row.kind}`))));
  byId("found").hidden = rows.length === 0;
  byId("search").setAttribute("aria-expanded", String(rows.length > 0));
  if (rows.length > 0) byId("search").setAttribute("aria-activedescendant", `found-${chosen}`);
  else byId("search").removeAttribute("aria-activedescendant");
  return rows;
}
function pick(row) {
  byId("search").value = "";
  listFound();
  byId("search").blur();
  row.go();
}
byId("search").addEventListener("input", () => { chosen = 0; listFound(); });
byId("search").addEventListener("blur", () => setTimeout(() => { byId("found").hidden = true; }, 150));
byId("search").addEventListener("keydown", (event) => {
  event.stopPropagation();
  const rows = candidates(byId("search").value);
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    chosen = (chosen + (event.key === "ArrowDown" ? 1 : -1) + rows.length) % Math.max(1, rows.length);
    listFound();
  } else if (event.key === "Enter" && rows[chosen]) pick(rows[chosen]);
  else if (event.key === "Escape") { byId("search").value = ""; listFound(); byId("search").blur(); }
});

// The letters are those of `unspool step`.
const KEYS = {
  ArrowRight: () => onwards(1), n: () => onwards(1), ArrowLeft: () => onwards(-1), b: () => onwards(-1),
  Home: () => go.step(0), End: () => go.step(here().steps.length - 1), " ": togglePlay,
  f: () => toPass(false), g: () => toPass(true), i: () => enter(), Enter: () => enter(), o: go.out, Escape: go.out,
  t: go.overview, p: () => { go.overview(); byId("gradients")?.scrollIntoView(); }, s: toSource,
  x: () => { if (lesson.traces.length > 1) choose((place.trace + 1) % lesson.traces.length); },
  d: theme, "/": () => byId("search").focus(), "?": () => byId("keys").showModal(),
};
function toSource() {
  const source = document.querySelector("#panel .source");
  if (!source) return;
  source.open = true;
  source.scrollIntoView();
}
function enter() {
  const step = here().steps[place.step];
  if (place.look === "step" && step !== "update" && step !== undefined) go.open(nodeOf(step));
}
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("keys").open) return;
  const on = event.target;
  const typing = on.matches("input:not([type=range]), select, textarea");
  const pressed = on.matches("button, summary, a, input[type=range]");
  if (typing || (pressed && (event.key === "Enter" || event.key === " ")) || (on.type === "range" && /^(Arrow|Home|End)/.test(event.key))) return;
  const digit = /^[1-9]$/.test(event.key) && lesson.traces[Number(event.key) - 1];
  if (digit) choose(Number(event.key) - 1);
  else if (KEYS[event.key]) KEYS[event.key]();
  else return;
  event.preventDefault();
});

function choose(number) { play(false); window.scrollTo(0, 0); move({ trace: number, path: [], step: 0, look: "overview" }, true); }

byId("first").addEventListener("click", () => go.step(0));
byId("back").addEventListener("click", () => onwards(-1));
byId("next").addEventListener("click", () => onwards(1));
byId("last").addEventListener("click", () => go.step(here().steps.length - 1));
byId("play").addEventListener("click", togglePlay);
byId("speed").addEventListener("change", () => { if (timer) play(true); });
byId("slider").addEventListener("input", () => go.step(Number(byId("slider").value)));
byId("forward").addEventListener("click", () => toPass(false));
byId("backward").addEventListener("click", () => toPass(true));
byId("overview").addEventListener("click", go.overview);
byId("theme").addEventListener("click", theme);
byId("help").addEventListener("click", () => byId("keys").showModal());
byId("traces").append(...lesson.traces.map((trace, number) => h("option", { value: String(number) }, trace.title)));
byId("traces").closest("label").hidden = lesson.traces.length < 2;
byId("traces").addEventListener("change", () => choose(Number(byId("traces").value)));

for (const [name, x, y] of [["left", -1, 0], ["right", 1, 0], ["up", 0, -1], ["down", 0, 1]]) {
  byId(`more-${name}`).addEventListener("click", () => byId("graph").scrollBy({ left: 0.7 * x * byId("graph").clientWidth, top: 0.7 * y * byId("graph").clientHeight, behavior: "smooth" }));
}
byId("graph").addEventListener("scroll", hints);
window.addEventListener("resize", () => fit());
window.addEventListener("beforeprint", () => fit(PAPER));
window.addEventListener("afterprint", () => fit());

Object.assign(place, placeOf(location.hash) ?? {});
render();
