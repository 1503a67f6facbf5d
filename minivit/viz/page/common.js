"use strict";
// What both pages share. All data was written into #data when the page was made; nothing is loaded.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const [ROWS, COLUMNS] = data.grid;
const PATCHES = ROWS * COLUMNS;
const FIRST = data.prefix.length; // the first token that is a patch
const T = PATCHES + FIRST;
const HEADS = data.heads;
const HEAT = bytes(data.palette); // 256 colors, three bytes each

function middle() { return FIRST + Math.floor(ROWS / 2) * COLUMNS + Math.floor(COLUMNS / 2); }

function bytes(base64) { return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)); }

function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** A canvas of one pixel per number, row by row; rgba(number) is its color, four bytes. */
function drawNumbers(canvas, numbers, columns, rgba) {
  [canvas.width, canvas.height] = [columns, numbers.length / columns];
  const out = new ImageData(canvas.width, canvas.height);
  numbers.forEach((number, i) => out.data.set(rgba(number), 4 * i));
  canvas.getContext("2d").putImageData(out, 0, 0);
}

/** The colorbar, from `min` to 1. */
function drawScale(canvas, rgba, min = 0) {
  drawNumbers(canvas, Array.from({ length: 128 }, (_, i) => min + ((1 - min) * i) / 127), 128, rgba);
}

function drawPatches(canvas, values, rgba) { drawNumbers(canvas, Array.from(values.subarray(FIRST)), COLUMNS, rgba); }

function clampFraction(fraction) { return Math.min(1, Math.max(0, fraction)); }

function colorOf(palette, fraction) {
  const at = 3 * Math.round(255 * clampFraction(fraction));
  return [palette[at], palette[at + 1], palette[at + 2], 255];
}

/** The color of a number between 0 and `top`. */
function heatTo(top) { return (number) => colorOf(HEAT, number / (top || 1)); }

function patchPosition(token) { return [Math.floor((token - FIRST) / COLUMNS), (token - FIRST) % COLUMNS]; }

function tokenName(token) {
  if (token < FIRST) return data.prefix[token];
  const [row, column] = patchPosition(token);
  return `row ${row + 1}, column ${column + 1}`;
}

function digits(number) { return number >= 0.01 ? number.toFixed(3) : number.toPrecision(2); }

/** The patch with the largest value, `except` aside. */
function strongest(all, except = null) {
  let best = null;
  for (let i = FIRST; i < T; i++) if (i !== except && (best === null || all[i] > all[best])) best = i;
  return best ?? except;
}

function clamp(value, count) { return Math.max(0, Math.min(count - 1, value)); }
