// Arrays as grids of coloured numbers, or as what is known of a large one.

const WORDS = 12; // So many columns have room for numbers; more are colours alone.
const CELLS = 4096; // So many cells are made at once; the rest when it is asked for.

/** A name as a heading, which leads to the value; what the node's formulas call it stands first, or behind. */
function headOf(name) {
  if (typeof name === "string") return h("span", { class: "what" }, name);
  const { lead, own, here, tail, go } = name;
  const link = h("button", { type: "button", class: "linked what", onclick: go }, broken(own));
  if (name.first) return [here && h("span", { class: "what" }, `${here} = `), link];
  return [lead && h("span", { class: "quiet" }, lead), link, here && h("span", { class: "here" }, ` (here ${here})`), tail];
}

/** An array with its name: the numbers on hover, focus and by arrow keys; a mark where one was checked. */
function arrayView(name, array, { check = null, gradient = false, before = null, said = null, note = null } = {}) {
  const found = verdict(check);
  const head = h("figcaption", {}, headOf(name), " ", h("span", { class: "quiet" }, shapeOf(array)),
    check && h("span", { class: `mark ${found.state}`, title: found.text }, ` ${found.mark}`, h("span", { class: "hidden" }, ` ${found.text}`)));
  const body = array.summary ? summaryView(name, array, check) : numberGrid(name, array, check, before, said);
  return h("figure", { class: gradient ? "array gradient" : "array" }, head, note && h("p", { class: "remark quiet" }, note), body, check && found.state !== "right" && h("p", { class: `remark ${found.state}` }, found.text));
}

/** All numbers of an array. */
function numberGrid(name, { numbers, shape }, check, before, said) {
  return grid(name, numbers, shape, {
    beside: (at) => found(check, at),
    said: said ?? ((at) => `${wordsOf(name, indexOf(at, shape))} = ${exact(numbers[at])}${before ? `; before ${exact(before[at])}` : ""}`),
  });
}

/**
 * Numbers in rows and columns. `said` is what one says at a place, `beside` the mark there, `pick` what
 * is done when it is clicked or entered, and null where nothing is.
 */
function grid(name, numbers, shape, { said, beside = () => null, pick = () => null }) {
  if (numbers.length === 0) return h("p", { class: "quiet" }, "no numbers");
  const columns = Math.max(1, shape.length ? shape[shape.length - 1] : 1);
  const rows = numbers.length / columns;
  const largest = largestOf(numbers);
  const small = columns > WORDS;
  const cells = [];
  const cell = (at) => {
    const mark = beside(at);
    const text = `${said(at)}${mark ? `; ${mark.mark} ${mark.text}` : ""}`;
    const element = h("td", { role: "gridcell", tabindex: at === 0 ? "0" : "-1", "aria-label": text, title: text, class: [mark?.state, pick(at) && "leads"].filter(Boolean).join(" ") || null },
      small ? null : short(numbers[at]), !small && mark && h("sup", { class: "tick", "aria-hidden": "true" }, mark.mark));
    tint(element, numbers[at], largest);
    cells.push(element);
    return element;
  };
  const body = h("tbody", { role: "presentation" });
  const addRows = (count) => {
    for (let row = cells.length / columns; count > 0 && row < rows; row++, count--) {
      body.append(h("tr", { role: "row" }, Array.from({ length: columns }, (_, column) => cell(row * columns + column))));
    }
  };
  const atOnce = Math.max(1, Math.floor(CELLS / columns));
  addRows(atOnce);
  const table = h("table", { role: "grid", "aria-label": `${wordsOf(name)}, ${rows} by ${columns}`, class: small ? "cells small" : "cells" }, body);
  for (const type of ["focusin", "pointerover"]) table.addEventListener(type, ({ target }) => { const one = target.closest("td"); if (one) readOut(one.getAttribute("aria-label")); });
  table.addEventListener("click", ({ target }) => { const at = cells.indexOf(target.closest("td")); if (at >= 0) pick(at)?.(); });
  table.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Enter: 0 }[event.key];
    const now = cells.indexOf(document.activeElement);
    if (step === undefined || now < 0) return;
    const leads = step === 0 ? pick(now) : null;
    if (step === 0 && !leads) return;
    event.preventDefault();
    event.stopPropagation();
    if (leads) { leads(); return; }
    const next = cells[now + step];
    if (!next) return;
    cells[now].setAttribute("tabindex", "-1");
    next.setAttribute("tabindex", "0");
    next.focus();
  });
  const left = () => rows - cells.length / columns;
  const more = left() > 0 && h("button", { type: "button", onclick: ({ target }) => { addRows(atOnce); if (left() > 0) target.textContent = `more of ${plural(left(), "row")}`; else target.remove(); } }, `more of ${plural(left(), "row")}`);
  return [h("div", { class: "scroll" }, table), more];
}

/** The exact number that one is at, for the eye; a screen reader has the cell's own label. */
function readOut(text) {
  byId("read").textContent = text;
  byId("read").hidden = text === "";
}

/** Colours a cell by a number's sign and size. */
function tint(cell, x, largest) {
  const size = Number.isFinite(real(x)) && largest > 0 ? Math.abs(x) / largest : 0;
  cell.style.setProperty("--share", `${Math.round(100 * size)}%`);
  cell.style.setProperty("--hue", x < 0 ? "var(--cool)" : "var(--warm)");
  if (typeof x === "string") cell.classList.add("odd");
}

/** What is known of a large array. */
function summaryView(name, { summary, shape }, check) {
  const columns = shape[shape.length - 1];
  const rows = shape.slice(0, -1).reduce((a, b) => a * b, 1);
  const facts = [["least", summary.least], ["largest", summary.largest], ["mean", summary.mean], ["norm", summary.norm]];
  const { least, largest, histogram, grid: [down, across] } = summary;
  const most = largestOf(histogram);
  const bars = histogram.map((count, k) => {
    const edge = (n) => short(real(least) + ((real(largest) - real(least)) * n) / histogram.length);
    const bar = h("i", { title: `${plural(count, "number")} from ${edge(k)} to ${edge(k + 1)}` });
    bar.style.height = `${Math.max(count > 0 ? 4 : 0, (100 * count) / Math.max(most, 1))}%`;
    return bar;
  });
  // Made when it is opened: there may be many.
  const exactRows = summary.rows.map(({ row, numbers }) => ({ row, element: h("details", { ontoggle: ({ target }) => {
    if (!target.open || target.children.length > 1) return;
    for (const part of grid("row", numbers, [1, columns], { said: (at) => `${wordsOf(name, indexOf(row * columns + at, shape))} = ${exact(numbers[at])}` })) if (part) target.append(part);
  } }, h("summary", {}, `row ${row}, exactly`)) }));
  // Blocks are as equal as they can be.
  const span = (word, block, blocks, count) => {
    const [from, to] = [Math.ceil((block * count) / blocks), Math.ceil(((block + 1) * count) / blocks) - 1];
    return { from, to, text: from === to ? `${word} ${from}` : `${word}s ${from}–${to}` };
  };
  const rowsOf = (at) => span("row", Math.floor(at / across), down, rows);
  const within = (at) => exactRows.filter(({ row }) => row >= rowsOf(at).from && row <= rowsOf(at).to);
  const leads = (at) => within(at).length > 0 && (() => {
    for (const { element } of within(at)) element.open = true;
    within(at)[0].element.querySelector("summary").focus();
  });
  const said = (at) => {
    const of = within(at).map(({ row }) => row).join(", ");
    return `mean of ${rowsOf(at).text}, ${span("column", at % across, across, columns).text} = ${exact(summary.blocks[at])}${of ? `; beneath, exactly: row ${of}` : ""}`;
  };
  return [
    h("p", { class: "facts" }, facts.map(([fact, x]) => h("span", { title: exact(x) }, h("span", { class: "quiet" }, `${fact} `), short(x))),
      summary.zeros > 0 && h("span", {}, h("span", { class: "quiet" }, "zeros "), summary.zeros.toLocaleString("en")),
      summary.not_finite > 0 && h("span", { class: "wrong" }, `${plural(summary.not_finite, "number")} not finite`)),
    h("div", { class: "summary" },
      h("div", {}, h("p", { class: "quiet" }, `means of ${down} × ${across} blocks of ${rows.toLocaleString("en")} × ${columns.toLocaleString("en")}`), grid("blocks", summary.blocks, summary.grid, { said, pick: leads })),
      h("div", {}, h("p", { class: "quiet" }, "how many numbers, from the least to the largest"), h("div", { class: "bars", role: "img", "aria-label": `histogram from ${short(least)} to ${short(largest)}: ${histogram.join(", ")}` }, bars))),
    sampledView(name, shape, check),
    exactRows.map(({ element }) => element),
    h("p", { class: "quiet limit" }, exactRows.length > 0 ? "The page has no other rows exactly" : "The page has no row exactly", "; all of them with a larger ", h("code", {}, "--numbers"), "."),
  ];
}

/** The numbers of a large gradient that were compared. */
function sampledView(name, shape, check) {
  if (!check?.claimed?.length) return null;
  return h("table", { class: "sampled" }, h("caption", {}, "compared"),
    h("thead", {}, h("tr", {}, ["place", "gradient", "found", ""].map((head) => h("th", { scope: "col" }, head)))),
    h("tbody", {}, check.at.map((at, k) => {
      const beside = found(check, at);
      return h("tr", {}, h("th", { scope: "row" }, indexOf(at, shape)), [check.claimed[k], check.found?.[k]].map((x) => h("td", { title: x === undefined ? null : exact(x) }, x === undefined ? "" : short(x))),
        h("td", { class: `mark ${beside.state}`, title: beside.text }, beside.mark));
    })));
}
