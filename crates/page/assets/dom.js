"use strict";
// Elements, made of text alone: nothing that comes from the data is ever parsed as markup.

const byId = (id) => document.getElementById(id);

/** An element with attributes, listeners (`onclick: …`) and children: elements, texts, or lists. */
function h(tag, attributes, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

const SVG = "http://www.w3.org/2000/svg";

function svg(tag, attributes, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  // One by one: a call takes only so many arguments.
  for (const child of children.flat(9)) if (child !== null && child !== undefined && child !== false) element.append(child);
  return element;
}

/** Formulas come as MathML. These elements are taken, with no attribute but those of layout. */
const MATH = "http://www.w3.org/1998/Math/MathML";
const MATH_TAGS = new Set(("math mrow mi mo mn mtext mspace msub msup msubsup mfrac msqrt mroot mover munder munderover mtable mtr mtd mstyle mpadded mphantom").split(" "));
const MATH_ATTRIBUTES = new Set(("display mathvariant stretchy fence separator accent accentunder largeop movablelimits width lspace rspace columnalign").split(" "));

function formula({ text, mathml }) {
  const parsed = new DOMParser().parseFromString(mathml, "application/xml");
  const copied = (node) => {
    if (node.nodeType === Node.TEXT_NODE) return document.createTextNode(node.data);
    if (node.nodeType !== Node.ELEMENT_NODE || !MATH_TAGS.has(node.localName)) return document.createTextNode(node.textContent ?? "");
    const element = document.createElementNS(MATH, node.localName);
    for (const { name, value } of node.attributes) if (MATH_ATTRIBUTES.has(name)) element.setAttribute(name, value);
    element.append(...[...node.childNodes].map(copied));
    return element;
  };
  const root = parsed.documentElement;
  const math = root.localName === "math" ? copied(root) : document.createTextNode(text);
  return h("div", { class: "formula", title: text }, math);
}

/** A dotted name that is broken behind a dot, if anywhere. */
const broken = (name) => name.split(/(?<=\.)/).flatMap((part, k) => (k > 0 ? [h("wbr"), part] : [part]));

/** A number of the data: what JSON has no number for is a text there. */
const real = (x) => (typeof x === "string" ? { inf: Infinity, "-inf": -Infinity }[x] ?? NaN : x);

/** A number in few characters, with the digits that `unspool step` shows. */
function short(x) {
  const size = Math.abs(real(x));
  const text = !Number.isFinite(size) ? String(x)
    : Number.isInteger(size) && size < 1e4 ? String(x)
    : size < 1e-3 || size >= 1e4 ? x.toExponential(1).replace("e+", "e")
    : x.toFixed(size < 10 ? 4 : size < 100 ? 3 : size < 1000 ? 2 : 1);
  return text.replaceAll("-", "−");
}

/** All of a number's digits, to be copied. */
const exact = (x) => String(x);

/** The largest of numbers, of those that are finite, without their signs. */
function largestOf(numbers) {
  let largest = 0;
  for (const x of numbers) if (Number.isFinite(x)) largest = Math.max(largest, Math.abs(x));
  return largest;
}

/** The root of the sum of squares. */
function rootOfSquares(numbers) {
  let sum = 0;
  for (const x of numbers) sum += real(x) ** 2;
  return Math.sqrt(sum);
}

const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
