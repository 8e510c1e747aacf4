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
  element.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
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

/** A number in few characters. */
function short(x, digits = 3) {
  if (typeof x === "string") return x;
  if (x === 0) return "0";
  const size = Math.abs(x);
  if (size >= 1e5 || size < 1e-4) return x.toExponential(Math.max(0, digits - 2)).replace("e+", "e").replace("-", "−").replace("e-", "e−");
  const fixed = x.toPrecision(digits);
  return (fixed.includes("e") ? String(Number(fixed)) : fixed).replace("-", "−");
}

/** All of a number's digits. */
const exact = (x) => String(x).replace("-", "−");

const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
