"use strict";
// Draws the validation page from the document that `retrosim validate --json` prints.
const data = JSON.parse(document.getElementById("data").textContent);
const percent = (x) => (100 * x).toFixed(1) + " %";
const us = (x) => (x >= 1000 ? (x / 1000).toFixed(2) + " ms" : x.toFixed(1) + " us");

document.getElementById("question").textContent =
  `${data.steps.rows} grid configurations on ${data.gpu}, simulated with profile ${data.profile}.`;

function card(title, value, note) {
  const box = document.createElement("div");
  box.className = "card";
  for (const [tag, text] of [["h3", title], ["strong", value], ["p", note]]) {
    const part = document.createElement(tag);
    part.textContent = text;
    box.append(part);
  }
  document.getElementById("cards").append(box);
}
card("Step, mean error", percent(data.steps.mape), `worst ${percent(data.steps.worst_abs_error)}`);
card("Without products", percent(data.without_products.mape), `${data.without_products.rows} configurations`);
card("Naive roofline", percent(data.roofline.mape), "peak numbers of the datasheet");
card("Overhead of a window", percent(data.retro_overhead_within), "of pairs within 15 % or 30 us");

const groups = [...new Set(data.rows.map((row) => row.group))];
const colours = ["#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed", "#0891b2", "#65a30d"];
const sets = (point) => groups.map((group, i) => ({
  label: group, backgroundColor: colours[i % colours.length], pointRadius: 3,
  data: data.rows.filter((row) => row.group === group).map(point),
}));
const name = (raw) => `${raw.row.llm} ${raw.row.policy} w=${raw.row.window} batch ${raw.row.batch} context ${raw.row.context}`;
function scatter(id, datasets, x, y, type) {
  new Chart(document.getElementById(id), {
    type: "scatter",
    data: {datasets},
    options: {
      animation: false, maintainAspectRatio: false,
      scales: {x: {type, title: {display: true, text: x}}, y: {type, title: {display: true, text: y}}},
      plugins: {tooltip: {callbacks: {label: (item) => item.raw.row
        ? `${name(item.raw)}: ${item.raw.x.toPrecision(4)}, ${item.raw.y.toPrecision(4)}` : ""}}},
    },
  });
}
const times = data.rows.flatMap((row) => [row.measured_us, row.predicted_us]);
const ends = [Math.min(...times), Math.max(...times)];
const equal = (low, high) => ({label: "equal", type: "line", pointRadius: 0, borderColor: "#888", borderWidth: 1,
  data: [{x: low, y: low}, {x: high, y: high}]});
scatter("scatter", [...sets((row) => ({x: row.measured_us, y: row.predicted_us, row})), equal(...ends)],
  "live, us", "simulated, us", "logarithmic");
scatter("errors", sets((row) => ({x: row.kv_traffic_share, y: 100 * row.error, row})),
  "share of keys, values and summaries in the traffic", "error, %", "linear");
const over = data.overhead.map((p) => ({x: p.measured_over_us, y: p.predicted_over_us,
  row: {llm: p.llm, policy: "quest", window: p.window, batch: p.batch, context: p.context}}));
if (over.length > 0) {
  const values = over.flatMap((p) => [p.x, p.y]);
  scatter("overhead", [{label: "over window 1", backgroundColor: colours[0], pointRadius: 3, data: over},
    equal(Math.min(...values), Math.max(...values))], "live, us", "simulated, us", "linear");
}

function table(id, head, rows) {
  const element = document.getElementById(id);
  const add = (parent, tag, cells) => {
    const line = parent.insertRow();
    for (const text of cells) line.append(Object.assign(document.createElement(tag), {textContent: text}));
  };
  add(element.createTHead(), "th", head);
  const body = element.createTBody();
  for (const row of rows) add(body, "td", row);
}
table("operations", ["operation", "rows", "MAPE", "bias", "95th percentile", "worst"], data.by_operation.map((o) =>
  [o.name, o.rows, percent(o.mape), percent(o.bias), percent(o.p95_abs_error), percent(o.worst_abs_error)]));
table("rows", ["model", "layers", "policy", "w", "batch", "context", "budget", "page", "KV", "live", "simulated", "error",
  "roofline"], data.rows.map((r) => [r.llm, r.layers, r.policy, r.window, r.batch, r.context, r.budget, r.page_size,
  r.kv_cache_dtype, us(r.measured_us), us(r.predicted_us), percent(r.error), percent(r.roofline_error)]));
