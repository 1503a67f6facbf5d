"use strict";
// What both pages share. Everything drawn was put into #data when the page was made; nothing is
// loaded.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const [ROWS, COLUMNS] = data.grid;
const PATCHES = ROWS * COLUMNS;
const FIRST = data.prefix.length; // the first token that is a patch
const T = PATCHES + FIRST;
const HEADS = data.heads;
const HEAT = bytes(data.palette); // 256 colours, three bytes each

function middle() { return FIRST + Math.floor(ROWS / 2) * COLUMNS + Math.floor(COLUMNS / 2); }

function bytes(base64) { return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)); }

function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Patches on a canvas of one pixel each; alpha of the value w is alpha(w / top). */
function drawMap(canvas, values, top, alpha) {
  canvas.width = COLUMNS;
  canvas.height = ROWS;
  const context = canvas.getContext("2d");
  const out = context.createImageData(COLUMNS, ROWS);
  for (let i = 0; i < PATCHES; i++) {
    const share = Math.min(1, Math.max(0, values[i + FIRST]) / (top || 1));
    const colour = 3 * Math.round(255 * share);
    out.data.set(HEAT.subarray(colour, colour + 3), 4 * i);
    out.data[4 * i + 3] = Math.round(255 * alpha(share));
  }
  context.putImageData(out, 0, 0);
}

function drawBar() {
  const context = $("bar").getContext("2d");
  const out = context.createImageData(128, 1);
  for (let i = 0; i < 128; i++) {
    out.data.set(HEAT.subarray(6 * i, 6 * i + 3), 4 * i);
    out.data[4 * i + 3] = 255;
  }
  context.putImageData(out, 0, 0);
}

function place(token) { return [Math.floor((token - FIRST) / COLUMNS), (token - FIRST) % COLUMNS]; }

function named(token) {
  if (token < FIRST) return data.prefix[token];
  const [row, column] = place(token);
  return `row ${row + 1}, column ${column + 1}`;
}

function digits(number) { return number >= 0.01 ? number.toFixed(3) : number.toPrecision(2); }

/** The patch with the largest value, but for one. */
function strongest(all, except = null) {
  let best = null;
  for (let i = FIRST; i < T; i++) if (i !== except && (best === null || all[i] > all[best])) best = i;
  return best ?? except;
}

function clamp(value, count) { return Math.max(0, Math.min(count - 1, value)); }
