// Arrays as grids of coloured numbers, or as what is known of a large one.

const WORDS = 12; // So many columns have room for numbers; more are colours alone.

/** An array with its name: the numbers on hover, focus and by arrow keys; a mark where one was checked. */
function arrayView(name, array, { check = null, gradient = false, before = null } = {}) {
  const found = verdict(check);
  const head = h("figcaption", {}, h("span", { class: "what" }, name), " ", h("span", { class: "quiet" }, shapeOf(array)),
    check && h("span", { class: `mark ${found.state}`, title: found.text }, ` ${found.mark}`, h("span", { class: "hidden" }, ` ${found.text}`)));
  const body = array.summary ? summaryView(array) : grid(name, array.numbers, array.shape, check, before);
  return h("figure", { class: gradient ? "array gradient" : "array" }, head, body, check && found.state !== "right" && h("p", { class: `remark ${found.state}` }, found.text));
}

function grid(name, numbers, shape, check, before = null, firstRow = null) {
  if (numbers.length === 0) return h("p", { class: "quiet" }, "no numbers");
  const columns = Math.max(1, shape.length ? shape[shape.length - 1] : 1);
  const rows = numbers.length / columns;
  const largest = Math.max(...numbers.map(Number).filter(Number.isFinite).map(Math.abs), 0);
  const small = columns > WORDS;
  const index = (row, column) => {
    const outer = [];
    let rest = firstRow ?? row;
    for (const size of shape.slice(0, -1).reverse()) { outer.unshift(rest % size); rest = Math.floor(rest / size); }
    return shape.length === 0 ? "" : `[${[...outer, column].join(", ")}]`;
  };
  const cells = [];
  const body = Array.from({ length: rows }, (_, row) => {
    const line = Array.from({ length: columns }, (_, column) => {
      const at = row * columns + column;
      const x = numbers[at];
      const beside = found(check, at);
      const old = before ? `; before ${exact(before[at])}` : "";
      const said = `${name}${index(row, column)} = ${exact(x)}${old}${beside ? `; ${beside.mark} ${beside.text}` : ""}`;
      const cell = h("td", { role: "gridcell", tabindex: cells.length === 0 ? "0" : "-1", "aria-label": said, class: beside ? beside.state : null, title: said },
        small ? null : short(x), !small && beside && h("sup", { class: "tick", "aria-hidden": "true" }, beside.mark));
      tint(cell, x, largest);
      cell.addEventListener("focus", () => readOut(said));
      cell.addEventListener("pointerenter", () => readOut(said));
      cells.push(cell);
      return cell;
    });
    return h("tr", { role: "row" }, line);
  });
  const table = h("table", { role: "grid", "aria-label": `${name}, ${rows} by ${columns}`, class: small ? "cells small" : "cells" }, h("tbody", { role: "presentation" }, body));
  table.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
    const now = cells.indexOf(document.activeElement);
    if (step === undefined || now < 0) return;
    event.preventDefault();
    event.stopPropagation();
    const next = cells[now + step];
    if (!next) return;
    cells[now].setAttribute("tabindex", "-1");
    next.setAttribute("tabindex", "0");
    next.focus();
  });
  return h("div", { class: "scroll" }, table);
}

/** The exact number that one is at, for the eye; a screen reader has the cell's own label. */
function readOut(text) {
  byId("read").textContent = text;
  byId("read").hidden = text === "";
}

/** Colours a cell by a number's sign and size. */
function tint(cell, x, largest) {
  const size = Number.isFinite(Number(x)) && largest > 0 ? Math.abs(x) / largest : 0;
  cell.style.setProperty("--share", `${Math.round(100 * size)}%`);
  cell.style.setProperty("--hue", x < 0 ? "var(--cool)" : "var(--warm)");
  if (typeof x === "string") cell.classList.add("odd");
}

/** What is known of a large array. */
function summaryView({ summary, shape }) {
  const columns = shape[shape.length - 1];
  const rows = shape.slice(0, -1).reduce((a, b) => a * b, 1);
  const facts = [["least", summary.least], ["largest", summary.largest], ["mean", summary.mean], ["norm", summary.norm]];
  const most = Math.max(...summary.histogram, 1);
  const { least, largest, histogram } = summary;
  const bars = histogram.map((count, k) => {
    const edge = (n) => short(Number(least) + ((Number(largest) - Number(least)) * n) / histogram.length, 2);
    const bar = h("i", { title: `${plural(count, "number")} from ${edge(k)} to ${edge(k + 1)}` });
    bar.style.height = `${Math.max(count > 0 ? 4 : 0, (100 * count) / most)}%`;
    return bar;
  });
  return [
    h("p", { class: "facts" }, facts.map(([name, x]) => h("span", { title: exact(x) }, h("span", { class: "quiet" }, `${name} `), short(x))),
      summary.zeros > 0 && h("span", {}, h("span", { class: "quiet" }, "zeros "), summary.zeros.toLocaleString("en")),
      summary.not_finite > 0 && h("span", { class: "wrong" }, `${plural(summary.not_finite, "number")} not finite`)),
    h("div", { class: "summary" },
      h("div", {}, h("p", { class: "quiet" }, `means of ${summary.grid[0]} × ${summary.grid[1]} blocks of ${rows.toLocaleString("en")} × ${columns.toLocaleString("en")}`), grid("block", summary.blocks, summary.grid, null)),
      h("div", {}, h("p", { class: "quiet" }, "how many numbers, from the least to the largest"), h("div", { class: "bars", role: "img", "aria-label": `histogram from ${short(least)} to ${short(largest)}: ${histogram.join(", ")}` }, bars))),
    summary.rows.map(({ row, numbers }) =>
      // Made when it is opened: there may be many.
      h("details", { ontoggle: ({ target }) => { if (target.open && target.children.length === 1) target.append(grid("row", numbers, [rows, columns], null, null, row)); } },
        h("summary", {}, `row ${row}, exactly`))),
  ];
}
