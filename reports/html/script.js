'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const byId = (id) => document.getElementById(id);

// Numbers for people: the same rules as on the terminal.
const scaled = (value, unit) => {
  const prefixes = ['', 'k', 'M', 'G', 'T', 'P'];
  let i = 0;
  while (Math.abs(value) >= 999.5 && i + 1 < prefixes.length) { value /= 1000; i += 1; }
  const size = Math.abs(value);
  return value.toFixed(i === 0 || size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2) + ' ' + prefixes[i] + unit;
};
const bytes = (value) => scaled(value, 'B');
const flops = (value) => scaled(value, 'FLOP');
const latency = (us) => Math.abs(us) < 10000 ? us.toFixed(1) + ' µs' : (us / 1000).toFixed(2) + ' ms';
// Axis ticks: round numbers need no zeros after the point.
const tickOf = (format) => (value) => format(value).replace(/(\.\d*?)0+(?= |×|$)/, '$1').replace(/\.(?= |×|$)/, '');
const tickLatency = (us) => Math.abs(us) < 1000 ? us.toFixed(1) + ' µs' : (us / 1000).toFixed(2) + ' ms';
const count = (value) => value.toLocaleString('en', {maximumFractionDigits: 1});
const change = (value, base) => {
  if (!base) return 'n/a';
  const percent = (value / base - 1) * 100;
  return (percent < 0 ? '−' : '+') + Math.abs(percent).toFixed(Math.abs(percent) < 9.95 ? 2 : 1) + ' %';
};

const element = (tag, text, className) => {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
};

const inputs = data.inputs;
const withWindow = inputs.window > 1;
const names = {full: 'full', without_retro: inputs.page_policy, asked: data.variant};
const variants = withWindow ? ['full', 'without_retro', 'asked'] : ['full', 'asked'];
const steps = {full: data.versus.full, without_retro: data.versus.without_retro, asked: data.step};

// ---- text ---------------------------------------------------------------------------------------------------------

function showQuestion() {
  const gpus = inputs.tensor_parallel_size > 1 ? ` × ${inputs.tensor_parallel_size}` : '';
  byId('question').textContent =
    `One decode step of ${inputs.llm} on ${inputs.gpu}${gpus}: context ${count(inputs.context)} tokens, batch ` +
    `${inputs.batch}, ${inputs.pages_selected} of ${inputs.num_pages} pages per KV head, ${inputs.kv_cache_dtype} KV cache.`;
}

function showCards() {
  const {full, without_retro: single, asked} = steps;
  const cards = [
    ['Step latency', latency(asked.latency_us_mean), `${data.variant}; p99 ${latency(asked.latency_us_p99)}`, 'modelled'],
    ['Against full attention', (full.latency_us_mean / asked.latency_us_mean).toFixed(2) + '×',
      `full attention takes ${latency(full.latency_us_mean)}`, 'modelled'],
  ];
  if (withWindow) {
    cards.push([`Cost of window ${inputs.window}`, latency(asked.latency_us_mean - single.latency_us_mean),
      `${change(asked.latency_us_mean, single.latency_us_mean)} latency, ${change(asked.hbm_read_bytes, single.hbm_read_bytes)} HBM reads`,
      'modelled']);
  }
  cards.push(['KV read per step', bytes(asked.kv_read_bytes),
    `${change(asked.kv_read_bytes, full.kv_read_bytes)} against full attention`, 'modelled']);
  if (data.mass_recall) {
    const {without_retro: own, retro} = data.mass_recall;
    cards.push(['Attention mass recalled', (100 * retro).toFixed(1) + ' %',
      withWindow ? `${(100 * own).toFixed(1)} % without the window` : 'on the selected pages', 'trace']);
  }
  for (const [what, value, detail, kind] of cards) {
    const card = element('div', undefined, 'card');
    const title = element('p', what + ' ', 'what');
    title.append(element('span', kind === 'trace' ? 'from the trace' : kind, 'badge ' + kind));
    card.append(title, element('p', value, 'value'), element('p', detail, 'detail'));
    byId('cards').append(card);
  }
  const warn = (text) => byId('notes').append(element('p', text, 'warning'));
  if (!data.gpu_memory.fits) {
    warn(`This configuration needs ${bytes(data.gpu_memory.needed_bytes)} on each GPU, which has ` +
      `${bytes(data.gpu_memory.capacity_bytes)}: it does not fit.`);
  }
  if (data.truncated) warn('The trace was cut off; it was read up to its last whole chunk.');
}

function fillTable(id, header, rows, leftColumns) {
  const table = byId(id);
  const add = (parent, tag, cells) => {
    const row = element('tr');
    cells.forEach((cell, i) => {
      const node = cell instanceof Node ? element(tag) : element(tag, String(cell));
      if (cell instanceof Node) node.append(cell);
      if (i < leftColumns) node.classList.add('left');
      row.append(node);
    });
    parent.append(row);
    return row;
  };
  if (header) add(table.createTHead(), 'th', header);
  const body = table.createTBody();
  for (const row of rows) add(body, 'td', row);
}

function showTables() {
  const fields = [
    ['Latency, mean', 'latency_us_mean', latency], ['Latency, p50', 'latency_us_p50', latency],
    ['Latency, p99', 'latency_us_p99', latency], ['KV read', 'kv_read_bytes', bytes],
    ['Page summaries read', 'summary_read_bytes', bytes], ['Weights read', 'weight_read_bytes', bytes],
    ['Output cache read', 'output_cache_read_bytes', bytes], ['Other reads', 'other_read_bytes', bytes],
    ['HBM read', 'hbm_read_bytes', bytes], ['KV written', 'kv_write_bytes', bytes],
    ['HBM written', 'hbm_write_bytes', bytes], ['Arithmetic', 'flops', flops],
    ['Unseen pages per layer and KV head', 'unseen_pages_mean', count],
    ['Output cache', 'output_cache_state_bytes', bytes],
  ];
  const rows = fields.map(([name, key, format]) => {
    const row = [name, ...variants.map((v) => format(steps[v][key]))];
    if (withWindow) row.push(change(steps.asked[key], steps.without_retro[key]));
    return row;
  });
  fillTable('comparison', ['Per step and GPU', ...variants.map((v) => names[v]), ...(withWindow ? ['window’s change'] : [])],
    rows, 1);
  fillTable('operations', ['Operation', 'Bound by', 'Least known as', 'Launches', 'Latency', 'HBM', 'Arithmetic'],
    data.breakdown.asked.map((g) => [g.name, g.bound.replace('_', ' '), g.provenance, g.launches, latency(g.latency_us),
      bytes(g.hbm_bytes), flops(g.flops)]), 3);
  const shown = (value) => value === null ? '–' : typeof value === 'boolean' ? (value ? 'yes' : 'no') : String(value);
  const flat = Object.entries(inputs).filter(([key, value]) => typeof value !== 'object' || value === null);
  const shape = Object.entries(inputs.llm_shape).map(([key, value]) => ['model: ' + key, value]);
  fillTable('inputs', null, [...flat, ...shape].map(([key, value]) => [key.replaceAll('_', ' '), shown(value)]), 1);
  const memory = data.gpu_memory;
  fillTable('memory', null, [['Weights', bytes(memory.weight_bytes)], ['KV cache', bytes(memory.kv_bytes)],
    ['Page summaries and ages', bytes(memory.policy_metadata_bytes)], ['Output cache', bytes(memory.output_cache_bytes)],
    ['Needed', bytes(memory.needed_bytes)], ['Capacity', bytes(memory.capacity_bytes)]], 1);
}

function showProvenance() {
  const describe = (list, name, text) => list.append(element('dt', name), element('dd', text));
  const mapping = data.trace_mapping;
  if (!mapping.used) {
    describe(byId('mapping'), 'No trace', mapping.why);
  } else {
    describe(byId('mapping'), 'Trace', inputs.trace);
    if (mapping.exact) describe(byId('mapping'), 'Shape', 'that of the target: nothing was mapped');
    for (const key of ['layers', 'heads', 'context', 'page_size', 'batch']) {
      if (mapping[key]) describe(byId('mapping'), key.replace('_', ' '), mapping[key]);
    }
  }
  const meaning = {
    measured: 'a measured point', interpolated: 'within what the profile was fitted on',
    extrapolated: 'outside the range that the profile was fitted on', transferred: 'borrowed from another GPU',
  };
  for (const [name, share] of Object.entries(data.provenance_shares)) {
    describe(byId('provenance'), `${(100 * share).toFixed(1)} % of the latency: ${name}`, meaning[name]);
  }
  describe(byId('provenance'), `Profile ${inputs.profile}`, inputs.profile_provenance);
}

// ---- charts -------------------------------------------------------------------------------------------------------

const charts = [];
const wheel = ['#4477aa', '#ee6677', '#228833', '#ccbb44', '#66ccee', '#aa3377', '#ee8866', '#44aa99', '#999933', '#882255',
  '#6699cc', '#997700', '#994455', '#88ccee', '#bbbbbb', '#777777'];
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();
const variantColor = () => ({full: css('full'), without_retro: css('without'), asked: css('asked')});

function draw(canvas, make, label) {
  const node = typeof canvas === 'string' ? byId(canvas) : canvas;
  node.setAttribute('role', 'img');
  node.setAttribute('aria-label', label);
  charts.push({node, make, chart: null});
}

function render() {
  Chart.defaults.color = css('soft');
  Chart.defaults.borderColor = css('grid');
  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
  Chart.defaults.animation = false;
  Chart.defaults.maintainAspectRatio = false;
  Chart.defaults.plugins.legend.labels.boxWidth = 12;
  Chart.defaults.plugins.legend.labels.boxHeight = 12;
  for (const entry of charts) {
    if (entry.chart) entry.chart.destroy();
    entry.chart = new Chart(entry.node, entry.make());
  }
}

const axis = (title, format, extra) => ({
  title: {display: true, text: title}, grid: {color: css('grid')},
  ticks: {
    maxRotation: 0, autoSkipPadding: 12,
    callback(value) {
      // On a logarithmic axis only 1, 2 and 5 of each decade are named.
      if (this.type === 'logarithmic' && ![1, 2, 5].includes(Math.round(value / 10 ** Math.floor(Math.log10(value) + 1e-9)))) return null;
      return tickOf(format === latency ? tickLatency : format)(Number(value));
    },
  },
  ...extra,
});
const tooltip = (format) => ({callbacks: {label: (item) => `${item.dataset.label}: ${format(item.parsed[item.chart.options.indexAxis === 'y' ? 'x' : 'y'])}`}});

function stackedBars(series, title, format) {
  return () => ({
    type: 'bar',
    data: {
      labels: variants.map((v) => names[v]),
      datasets: series.map(({label, values}, i) => ({label, data: values, backgroundColor: wheel[i % wheel.length], borderWidth: 0})),
    },
    options: {
      indexAxis: 'y',
      scales: {x: axis(title, format, {stacked: true}), y: {stacked: true, grid: {display: false}}},
      plugins: {legend: {position: 'bottom'}, tooltip: tooltip(format)},
    },
  });
}

/// Groups below 2 % of every bar are summed into "other".
function stackedGroups(valuesOf) {
  const groups = new Map();
  const totals = {};
  for (const variant of variants) {
    totals[variant] = 0;
    for (const [label, value] of valuesOf(variant)) {
      if (!groups.has(label)) groups.set(label, {});
      groups.get(label)[variant] = (groups.get(label)[variant] || 0) + value;
      totals[variant] += value;
    }
  }
  const series = [];
  const other = variants.map(() => 0);
  for (const [label, byVariant] of groups) {
    const values = variants.map((v) => byVariant[v] || 0);
    if (values.some((value, i) => value >= 0.02 * totals[variants[i]])) series.push({label, values});
    else values.forEach((value, i) => { other[i] += value; });
  }
  if (other.some((value) => value > 0)) series.push({label: 'other', values: other});
  return series;
}

function drawBreakdown() {
  const milliseconds = (us) => latency(us);
  draw('breakdown', stackedBars(stackedGroups((v) => data.breakdown[v].map((g) => [g.name.replaceAll('_', ' '), g.latency_us])),
    'latency', milliseconds), 'Stacked bars of latency by operation for each variant');
  draw('bounds', stackedBars(stackedGroups((v) => data.breakdown[v].flatMap((g) =>
    Object.entries(g.bound_us).map(([bound, us]) => [bound.replace('_', ' '), us]))), 'latency', milliseconds),
    'Stacked bars of latency by what bounds it');
  const reads = [['KV', 'kv_read_bytes'], ['page summaries', 'summary_read_bytes'], ['weights', 'weight_read_bytes'],
    ['output cache', 'output_cache_read_bytes'], ['other', 'other_read_bytes']];
  draw('traffic', stackedBars(reads.map(([label, key]) => ({label, values: variants.map((v) => steps[v][key])})),
    'bytes read', bytes), 'Stacked bars of bytes read from HBM by kind');
}

function figure(parent, title, kind, say) {
  const box = element('figure');
  const caption = element('figcaption', title + ' ');
  for (const one of kind) caption.append(element('span', one === 'trace' ? 'from the trace' : one, 'badge ' + one), ' ');
  const frame = element('div', undefined, 'chart');
  const canvas = element('canvas');
  frame.append(canvas);
  box.append(caption, frame);
  if (say) box.append(element('p', say, 'say'));
  byId(parent).append(box);
  return canvas;
}

/// lines: [{label, color, points: [{x, y}], dash, published}]
function lineChart(lines, xTitle, yTitle, format, options = {}) {
  return () => ({
    type: 'line',
    data: {
      datasets: lines().map((line) => ({
        label: line.label, data: line.points, borderColor: line.color, backgroundColor: line.color, borderWidth: line.width || 2,
        borderDash: line.dash || [], order: line.order || 0, pointRadius: line.published ? 6 : 3, pointStyle: line.published ? 'triangle' : 'circle',
        showLine: !line.published, tension: 0,
      })),
    },
    options: {
      interaction: {mode: 'nearest', axis: 'x', intersect: false},
      scales: {
        x: {type: options.logX ? 'logarithmic' : 'linear', title: {display: true, text: xTitle}, grid: {display: false},
          afterBuildTicks(scale) {
            if (options.ticks) scale.ticks = options.ticks.map((value) => ({value}));
          },
          ticks: {callback: (value) => (options.xFormat || String)(value), autoSkip: Boolean(options.autoSkip), maxRotation: 0}},
        y: axis(yTitle, format, options.logY ? {type: 'logarithmic'} : {beginAtZero: options.fromZero !== false}),
      },
      plugins: {legend: {position: 'bottom'}, tooltip: {...tooltip(format), callbacks: {
        title: (items) => `${xTitle}: ${(options.xFormat || String)(items[0].parsed.x)}`, ...tooltip(format).callbacks}}},
    },
  });
}

const inThousands = (value) => value >= 1024 && value % 1024 === 0 ? `${value / 1024}k` : String(value);

function drawSweeps() {
  byId('sweep-note').textContent = `Each point is a simulation of ${data.sweep_steps} decode steps with one input moved and ` +
    'all others as asked.';
  const titles = {window: 'window, queries', budget: 'budget, fraction of pages', batch: 'batch, sequences',
    context: 'context, tokens'};
  for (const sweep of data.sweeps) {
    const xs = sweep.points.map((p) => p[sweep.input]);
    const curve = (key, variant) => sweep.points.map((p) => ({x: p[sweep.input], y: p[variant][key]}));
    const options = {logX: sweep.input !== 'budget', ticks: sweep.input === 'budget' ? [0, 0.25, 0.5, 0.75, 1] : xs,
      xFormat: sweep.input === 'context' ? inThousands : String, logY: sweep.input === 'batch' || sweep.input === 'context',
      autoSkip: false};
    // Over the window, "as asked" is the line that moves; elsewhere the window is fixed.
    const shown = sweep.input === 'window' ? ['full', 'without_retro', 'asked'] : variants;
    const label = (v) => v === 'asked' && sweep.input === 'window' ? `${inputs.page_policy} with this window` : names[v];
    const unfit = sweep.points.filter((p) => !p.fits).map((p) => p[sweep.input]);
    const say = unfit.length ? `Beyond the GPU's memory: ${unfit.map(options.xFormat).join(', ')}.` : '';
    draw(figure('sweeps', `Latency over the ${sweep.input}`, ['modelled'], say), lineChart(() => shown.map((v) => ({
      label: label(v), color: variantColor()[v], points: curve('latency_us_mean', v), dash: v === 'full' ? [6, 4] : [],
      width: v === 'without_retro' ? 5 : 2, order: variants.length - shown.indexOf(v),
    })), titles[sweep.input], 'step latency', latency, options), `Line chart of step latency over the ${sweep.input}`);
    if (sweep.input === 'budget') {
      draw(figure('sweeps', 'KV and summary reads over the budget', ['modelled']), lineChart(() => [
        {label: 'full: KV', color: css('full'), points: curve('kv_read_bytes', 'full'), dash: [6, 4]},
        {label: `${data.variant}: KV`, color: css('asked'), points: curve('kv_read_bytes', 'asked')},
        {label: `${data.variant}: page summaries`, color: css('trace'), points: curve('summary_read_bytes', 'asked')},
      ], titles.budget, 'bytes read per step', bytes, options), 'Line chart of bytes read over the budget');
    }
    if (sweep.input === 'context') {
      draw(figure('sweeps', 'HBM reads over the context', ['modelled']), lineChart(() => shown.map((v) => ({
        label: names[v], color: variantColor()[v], points: curve('hbm_read_bytes', v), dash: v === 'full' ? [6, 4] : [],
        width: v === 'without_retro' ? 5 : 2, order: variants.length - shown.indexOf(v),
      })), titles.context, 'bytes read per step', bytes, {...options, logY: false}),
        'Line chart of bytes read over the context');
    }
    if (sweep.input === 'window' || (sweep.input === 'batch' && withWindow)) {
      const cost = sweep.points.map((p) => ({x: p[sweep.input], y: p.asked.latency_us_mean - p.without_retro.latency_us_mean}));
      draw(figure('sweeps', `What the window adds, over the ${sweep.input}`, ['modelled']), lineChart(() => [
        {label: `added latency over ${inputs.page_policy}`, color: css('asked'), points: cost},
      ], titles[sweep.input], 'added latency', latency, {...options, logY: false}),
        `Line chart of the latency that the window adds over the ${sweep.input}`);
    }
  }
}

function drawTrace() {
  const stats = data.trace_statistics;
  if (!stats) { byId('trace-section').remove(); return; }
  byId('trace-note').textContent = `${inputs.trace}: ${count(stats.counted_steps)} steps replayed under ${inputs.page_policy} ` +
    `in the trace’s own shape, ${count(stats.selected_pages_mean)} pages per KV head and step.`;
  const n = stats.exposure.map((e) => e.n);
  draw(figure('trace-charts', 'Effective KV exposure', ['trace', 'published'],
    'Pages that a query has seen after n later steps, relative to the k it loaded itself. Triangles: the paper’s figures ' +
    '(arXiv 2508.09001), for its own model and workloads.'), lineChart(() => [
    {label: 'this trace', color: css('trace'), points: stats.exposure.map((e) => ({x: e.n, y: e.ratio}))},
    {label: 'paper', color: css('published'), points: [{x: 1, y: 1.17}, {x: 7, y: 1.6}], published: true},
  ], 'later steps n = w − 1', 'exposure', (value) => Number(value).toFixed(2) + '×', {ticks: n, fromZero: false}),
    'Line chart of exposure over the number of later steps');
  draw(figure('trace-charts', 'Attention mass recalled', ['trace'],
    'Share of a query’s true attention mass on the pages it has seen once its window is over.'), lineChart(() => [
    {label: 'mass recall', color: css('trace'), points: stats.mass_recall.map((m) => ({x: m.window, y: m.mean}))},
  ], 'window, queries', 'share of mass', (value) => (100 * value).toFixed(1) + ' %',
    {ticks: stats.mass_recall.map((m) => m.window), fromZero: false}), 'Line chart of attention mass recall over the window');
  const layers = stats.per_layer;
  draw(figure('trace-charts', 'Where selected pages ranked one step before', ['trace'],
    `Over all layers ${(100 * stats.overlap_topk).toFixed(1)} % were in the previous top-k` +
    (stats.overlap_nextk === null ? '' : ` and ${(100 * stats.overlap_nextk).toFixed(1)} % in its next k`) +
    '; the paper reports 70–80 % and 15–20 %.'), () => ({
    type: 'bar',
    data: {
      labels: layers.map((l) => l.layer),
      datasets: [
        {label: 'in the previous top-k', data: layers.map((l) => l.overlap_topk), backgroundColor: css('trace')},
        {label: 'in its next k', data: layers.map((l) => l.overlap_nextk ?? 0), backgroundColor: css('without')},
      ],
    },
    options: {
      scales: {x: {stacked: true, title: {display: true, text: 'layer'}, grid: {display: false}},
        y: axis('share of selected pages', (value) => (100 * value).toFixed(0) + ' %', {stacked: true, max: 1})},
      plugins: {legend: {position: 'bottom'}, tooltip: tooltip((value) => (100 * value).toFixed(1) + ' %')},
    },
  }), 'Stacked bars of selection overlap per layer');
  draw(figure('trace-charts', 'Exposure per layer', ['trace']), () => ({
    type: 'line',
    data: {
      labels: layers.map((l) => l.layer),
      datasets: stats.exposure.filter((e) => e.n > 0).map((e, i) => ({
        label: `n = ${e.n}`, borderColor: wheel[i], backgroundColor: wheel[i], borderWidth: 2, pointRadius: 3, tension: 0,
        data: layers.map((l) => l.exposure.find((one) => one.n === e.n).ratio),
      })),
    },
    options: {
      scales: {x: {title: {display: true, text: 'layer'}, grid: {display: false}},
        y: axis('exposure', (value) => Number(value).toFixed(2) + '×')},
      plugins: {legend: {position: 'bottom'}, tooltip: tooltip((value) => value.toFixed(3) + '×')},
    },
  }), 'Line chart of exposure per layer');
}

showQuestion();
showCards();
showTables();
showProvenance();
drawBreakdown();
drawSweeps();
drawTrace();
render();
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', render);
matchMedia('print').addEventListener('change', render);
addEventListener('beforeprint', () => charts.forEach((entry) => entry.chart.resize()));
