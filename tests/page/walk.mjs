// Opens the pages in a real browser and walks through them, by mouse and by keyboard.
//
//   node walk.mjs FOLDER     a folder of pages; those named model*.html are of models

import { readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { chromium } from 'playwright-core';

const require = createRequire(import.meta.url);
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const folder = path.resolve(process.argv[2]);
const problems = [];
let walked = 0;
let scanned = 0;
const OPEN_WITHIN = 2;
const THOROUGHLY = ['through-time.html', 'encoder-decoder.html', 'model.html'];

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

/** A page that tells everything that it should not do. */
async function open(name, { width = 1280, height = 860, scheme = 'light', hash = '', bypassCSP = false } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, bypassCSP });
  const page = await context.newPage();
  const say = (what) => problems.push(`${name} ${width} ${scheme}${hash}: ${what}`);
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && say(`console: ${message.text()}`));
  page.on('pageerror', (error) => say(`error: ${error.message}`));
  page.on('dialog', (dialog) => { say('a dialog opened: something injected ran'); dialog.dismiss(); });
  page.on('request', (request) => !request.url().startsWith('file:') && say(`request: ${request.url()}`));
  await page.goto(`file://${path.join(folder, name)}${hash}`);
  await page.locator('#status:not(:empty)').waitFor();
  const check = async (what, holds) => { if (!holds) say(what); };
  return { context, page, check, say };
}

const steps = (page) => page.evaluate(() => here().steps.length);
const status = (page) => page.textContent('#status');

/**
 * Strikes a key again and again, within the page, and looks at each step: there are formula, numbers and
 * source, and all parts of the page say the same.
 */
const strike = (page, key, times) => page.evaluate(([key, times]) => {
  const wrong = [];
  const look = (step) => {
    const say = (what) => wrong.push(`step ${step}: ${what}`);
    const panel = document.getElementById('panel');
    if (place.step !== step) say(`the page is at ${place.step}`);
    if (Number(document.getElementById('slider').value) !== step) say('the slider is elsewhere');
    if (!document.getElementById('status').textContent.startsWith(`Step ${step + 1} of ${here().steps.length}`)) say('the sentence is of another step');
    if (panel.querySelectorAll('td').length === 0) say('no numbers');
    const pressed = (id) => document.getElementById(id).getAttribute('aria-pressed') === 'true';
    const { forward, backward } = here().steps[step];
    if (pressed('forward') !== (forward !== undefined) || pressed('backward') !== (backward !== undefined)) say('the buttons show another pass');
    if (here().steps[step] !== 'update') shown(panel, here().steps[step], say);
  };
  // What is shown is what the data says, by another way than the page's own.
  const shown = (panel, { forward, backward }, say) => {
    const { nodes, values } = here();
    const node = nodes[forward ?? backward];
    const told = root().explanations[node.explanation];
    const texts = (nodes) => JSON.stringify([...nodes].map((one) => one.title));
    const formulas = forward !== undefined ? told.forward : told.backward.flatMap((rule) => rule.formulas);
    if (texts(panel.querySelectorAll('.formula')) !== JSON.stringify(formulas.map(({ text }) => text))) say('other formulas');
    if (panel.querySelectorAll('math').length !== formulas.length) say('formulas without MathML');
    const lines = (forward !== undefined ? told.forward_source : told.backward_source).length;
    if (panel.querySelectorAll('pre').length !== lines) say('other source');
    const coming = node.outputs.map(({ slot }) => values[slot]).filter(({ gradient }) => gradient);
    const gradients = [...coming.map(({ gradient, check }) => [gradient, check]), ...node.contributions.map(({ value, check }) => [value, check])];
    const numbers = [...node.inputs, ...node.outputs].map(({ slot }) => [values[slot].value, null]);
    const arrays = forward !== undefined ? numbers : [...gradients, ...numbers];
    // By the names of the lesson, and the node's own letters where they are others.
    const both = (d, { name, slot }, lead = '') => {
      const own = nameOf(here(), slot);
      const of = (name) => (d && /[⊙·+−/]/.test(name) ? `${d}(${name})` : `${d}${name}`);
      // A dotted name that ends in the letter says enough.
      const label = (at) => `${lead}${of(own)}${at}${own === name || own.endsWith(`.${name}`) ? '' : ` (here ${of(name)}${at})`}`;
      return { head: d || own === name ? label('') : `${name} = ${own}`, label };
    };
    const ports = [...node.inputs, ...node.outputs].map((port) => both('', port));
    const parts = ({ parts, seed }) => parts.length + (seed ? 1 : 0);
    // Inside of an open node, its share in what is outside: the names of inputs lead out, level by level.
    const shared = (slot) => {
      if (parts(values[slot]) > 1) return true;
      for (let depth = place.path.length - 1, at = slot; depth >= 0; depth--) {
        const outside = inside(place.path.slice(0, depth));
        at = outside.nodes[place.path[depth]].inputs[at]?.slot;
        if (at === undefined) return false;
        if (parts(outside.values[at]) > 1) return true;
      }
      return false;
    };
    const names = forward !== undefined ? ports : [
      ...node.outputs.filter(({ slot }) => values[slot].gradient).map((port) => both('d_', port)),
      ...node.contributions.map(({ input, time }) => {
        const { head, label } = both('d_', node.inputs[input], shared(node.inputs[input].slot) ? 'adds to ' : '');
        const when = time !== null && time !== node.time ? `, time step ${time}` : '';
        return { head: head + when, label: (at) => label(at) + when };
      }),
      ...ports,
    ];
    const nothing = forward !== undefined ? [] : node.outputs.filter(({ slot }) => !values[slot].gradient).map((port) => `${both('d_', port).head} = 0: nothing comes in`);
    const noted = [...panel.querySelectorAll('.nothing')].map((one) => one.textContent);
    if (noted.length !== nothing.length || !nothing.every((text, k) => noted[k].startsWith(text))) say(`what does not come in: ${noted}, not ${nothing}`);
    const figures = [...panel.querySelectorAll('figure.array')];
    if (figures.length !== arrays.length) say(`${figures.length} arrays, not ${arrays.length}`);
    for (const [k, [array, check]] of arrays.entries()) {
      const cells = [...(figures[k]?.querySelectorAll('.cells td') ?? [])];
      const found = cells.map((cell) => cell.getAttribute('aria-label').split('; ')[0].split(' = ').at(-1));
      const given = array.numbers ?? array.summary.blocks;
      if (!given.every((x, at) => found[at] === String(x))) say(`array ${k} has other numbers`);
      const { head, label } = names[k] ?? {};
      const caption = figures[k]?.querySelector('figcaption').textContent ?? '';
      if (!caption.startsWith(`${head} `)) say(`array ${k} is called ${caption}, not ${head}`);
      const said = cells[0]?.getAttribute('aria-label') ?? '';
      if (array.numbers?.length > 0 && !said.startsWith(`${label(array.shape.length ? `[${array.shape.map(() => 0)}]` : '')} = `)) say(`array ${k} says ${said}`);
      const told = (x, at) => (x === undefined ? 'compared' : `${check.wrong?.includes(at) ? 'should be' : 'found'} ${x}`);
      const untold = (at) => check.untold?.some((one) => one.at === at);
      const sampled = [...(figures[k]?.querySelectorAll('.sampled tbody tr') ?? [])].map((row) => [...row.querySelectorAll('td')].map((cell) => cell.title));
      const beside = array.summary
        ? (check?.claimed ?? []).every((x, number) => sampled[number]?.[0] === String(x) && sampled[number][1] === String(check.found?.[number] ?? '') && (untold(check.at[number]) || sampled[number][2] === told(check.found?.[number], check.at[number])))
        : (check?.found ?? []).every((x, number) => {
          const at = check.at?.length ? check.at[number] : number;
          return untold(at) || cells[at]?.getAttribute('aria-label').endsWith(told(x, at));
        });
      if (!beside) say(`array ${k} does not say what was found`);
      const mark = figures[k]?.querySelector('.mark')?.firstChild.textContent.trim();
      const compared = check && check.method !== 'none' && (check.at?.length || check.of) > (check.untold?.length ?? 0);
      const right = check?.wrong?.length ? '✗' : compared ? '✓' : '–';
      if (check && mark !== right) say(`array ${k} is marked ${mark}, not ${right}`);
    }
  };
  let step = place.step;
  look(step);
  for (let time = 0; time < times; time++) {
    document.body.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
    step += key === 'ArrowRight' ? 1 : -1;
    look(step);
  }
  return wrong;
}, [key, times]);

/** To the end and back, by keys, and all else that keys do. */
async function byKeyboard(name, fusedNodes) {
  const { context, page, check, say } = await open(name);
  const count = await steps(page);
  await page.keyboard.press('Home');
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('ArrowLeft');
  for (const key of ['ArrowRight', 'ArrowLeft']) {
    (await strike(page, key, count - 1)).slice(0, 5).forEach(say);
    walked += count;
  }
  await check('the way back does not end at the first step', (await page.evaluate(() => place.step)) === 0);
  await page.keyboard.press('g');
  await check('g does not go to the backward pass', (await status(page)).includes('backward'));
  await page.keyboard.press('f');
  await check('f does not go to the forward pass', (await status(page)).includes('forward'));
  // Into every fused node, to its end, and out again; by real keys the first.
  const fused = await page.evaluate(() => here().nodes.flatMap((node, index) => (node.opened ? [index] : [])));
  for (const [number, index] of fused.slice(0, fusedNodes).entries()) {
    const press = (key) => number === 0 ? page.keyboard.press(key) : page.evaluate((key) => document.body.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true })), key);
    await page.evaluate((index) => go.node(index, false), index);
    await press('Enter');
    await check(`node ${index} does not open`, (await page.evaluate(() => place.path.length)) === 1);
    await press('End');
    await press('Home');
    await press('Escape');
    await check(`node ${index} is not left`, await page.evaluate((index) => place.path.length === 0 && nodeOf(here().steps[place.step]) === index, index));
    // Backward all the way.
    if (!(await page.evaluate((index) => here().steps.some(({ backward }) => backward === index), index))) continue;
    await page.evaluate((index) => go.node(index, true), index);
    await press('Enter');
    await check(`node ${index} opens elsewhere than at its first step backward`, await page.evaluate(() => place.path.length === 1 && place.look === 'step'
      && here().steps.findIndex(({ backward }) => backward !== undefined) === place.step));
    await press('ArrowRight');
    await press('Escape');
    await check(`node ${index} is not left backward`, await page.evaluate((index) => place.path.length === 0 && here().steps[place.step].backward === index, index));
  }
  // The numbers of an array, by arrow keys.
  await page.keyboard.press('g');
  await page.locator('#panel td[tabindex="0"]').first().focus();
  await page.keyboard.press('ArrowRight');
  await check('the number one is at is not read out', (await page.textContent('#read')).includes('='));
  // The letters of the walk in a terminal.
  for (const [key, holds] of [['f', () => place.step === 0], ['n', () => place.step === 1], ['b', () => place.step === 0], ['s', () => document.querySelector('#panel .source')?.open ?? true], ['p', () => place.look === 'overview'], ['g', () => backwardNow()]]) {
    await page.keyboard.press(key);
    await check(`${key} does something else`, await page.evaluate(holds));
  }
  // Search.
  await page.keyboard.press('t');
  const before = await status(page);
  await page.keyboard.press('/');
  const word = await page.evaluate(() => here().nodes[0].op);
  await page.keyboard.type(word);
  await page.keyboard.press('Enter');
  await check('search finds nothing', (await status(page)) !== before && await page.evaluate(() => document.activeElement !== document.getElementById('search')));
  await page.keyboard.press('?');
  await check('no help', await page.locator('#keys').isVisible());
  await page.keyboard.press('Escape');
  // Inside of a node, what is outside is found too.
  const outside = await page.evaluate(() => {
    const node = here().nodes.findIndex(({ opened }) => opened);
    const name = here().values.find(({ origin, gradient }) => origin === 'parameter' && gradient)?.name;
    if (node < 0 || !name) return null;
    go.open(node);
    byId('search').value = name;
    const row = candidates(name).find(({ text, kind }) => text === name && kind.includes(', in '));
    row?.go();
    return row ? `${place.path.length} ${nameOf(here(), place.slot) === name}` : 'nothing';
  });
  await check(`a parameter outside is not found: ${outside}`, outside === null || outside === '0 true');
  if ((await page.evaluate(() => lesson.traces.length)) > 1) {
    await page.keyboard.press('End');
    await page.keyboard.press('2');
    await check('2 does not choose the second computation', (await page.evaluate(() => place.trace)) === 1);
    await check('its graph does not begin at its beginning', (await page.evaluate(() => byId('graph').scrollLeft)) === 0);
    await page.keyboard.press('x');
    await check('x does not choose the other computation', (await page.evaluate(() => place.trace)) !== 1);
  }
  await context.close();
}

/** What is wrong with the graph that is drawn; null for nothing. */
const graphProblem = () => {
  const buttons = [...document.querySelectorAll('.canvas button')];
  const nodes = buttons.filter((one) => one.classList.contains('node'));
  if (nodes.length !== here().nodes.length) return `${nodes.length} nodes of ${here().nodes.length}`;
  const boxes = buttons.slice(0, 400).map((one) => one.getBoundingClientRect());
  for (const [k, a] of boxes.entries()) {
    for (const b of boxes.slice(k + 1)) if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1) return `box ${k} lies over another`;
  }
  // No edge passes behind a box, where it would seem to end; in small graphs, as there are many places to look at.
  const behind = here().nodes.length <= 60 && [...document.querySelectorAll('.canvas .edge')].find((edge) => {
    const scale = edge.getScreenCTM();
    const length = edge.getTotalLength();
    for (let at = 0; at <= length; at += 4) {
      const { x, y } = edge.getPointAtLength(at).matrixTransform(scale);
      if (boxes.some((box) => x > box.left + 2 && x < box.right - 2 && y > box.top + 2 && y < box.bottom - 2)) return true;
    }
    return false;
  });
  if (behind) return `${behind.textContent} passes behind a box`;
  const cut = buttons.find((one) => one.offsetWidth < 180 && one.firstChild && one.firstChild.scrollWidth > one.firstChild.clientWidth + 1);
  if (cut) return `${cut.textContent} is cut`;
  // Where more of it is, that is said.
  const graph = document.getElementById('graph');
  const more = graph.scrollWidth > graph.clientWidth + 8;
  if (more === document.getElementById('more-right').hidden && graph.scrollLeft < 4) return 'it does not say whether there is more';
  return null;
};

/** What a large array is: blocks that lead to their rows, the numbers that were compared; and attention. */
async function ofModels(name) {
  const { context, page, check } = await open(name);
  const state = await page.evaluate(() => {
    const trace = root();
    const summarised = trace.values.findIndex(({ gradient, value }) => gradient?.summary?.rows.length > 0 && value.summary);
    if (summarised < 0) return { none: true };
    go.value(summarised);
    const cell = document.querySelector('#panel .gradient td.leads');
    cell?.click();
    const opened = document.querySelector('#panel .gradient details[open] summary');
    const focused = document.activeElement === opened;
    const compared = document.querySelectorAll('#panel .sampled').length;
    go.overview();
    const choices = document.querySelectorAll('#panel .choices select').length;
    const attention = [...document.querySelectorAll('#panel h3')].some((one) => one.textContent === 'Attention');
    const parts = (trace) => trace.nodes.flatMap(({ contributions, opened }) => [...contributions, ...(opened ? parts(opened.trace) : [])]);
    const samples = parts(trace).filter(({ value, check }) => value.summary && check.claimed).length;
    return { cell: cell?.getAttribute('aria-label'), opened: opened?.textContent, focused, compared, choices, attention, samples };
  });
  await check(`a large array does not show its rows: ${JSON.stringify(state)}`, state.none || (/^mean of rows? .*column.* = /.test(state.cell) && state.opened?.startsWith('row ') && state.focused));
  await check(`nothing about attention: ${JSON.stringify(state)}`, state.none || state.attention);
  await check('no sampled number of a large array', state.none || state.samples > 0);
  await context.close();
}

async function byMouse(name) {
  const { context, page, check } = await open(name, { scheme: 'dark' });
  const count = Math.min(await steps(page), 3);
  for (let step = 0; step < count; step++) await page.click('#next');
  await check('the mouse does not step', (await page.evaluate(() => place.step)) === count - 1);
  await page.click('#first');
  await page.click('#last');
  await page.click('#backward');
  await check('no backward pass', (await status(page)).includes('backward'));
  await page.click('#forward');
  await page.selectOption('#speed', '100');
  await page.click('#play');
  await page.waitForFunction(() => place.step > 0, null, { timeout: 5000 }).catch(() => check('it does not play', false));
  // In one go: it may come to its end by itself.
  await page.evaluate(() => { if (timer) document.getElementById('play').click(); });
  const drawn = await page.evaluate(graphProblem);
  await check(`the graph: ${drawn}`, drawn === null);
  const leaf = page.locator('.canvas .leaf').first();
  if ((await leaf.count()) > 0) {
    await leaf.click();
    await check('a value is not shown', (await page.evaluate(() => place.look)) === 'value');
    const before = await page.evaluate(() => location.hash);
    await page.click('#overview');
    await page.goBack();
    await check('the way back leads elsewhere', (await page.evaluate(() => location.hash)) === before);
  }
  const node = page.locator('.canvas .node').first();
  await node.click();
  const into = page.locator('#panel button.primary');
  if ((await into.count()) > 0) {
    await into.click();
    await check('a click does not open', (await page.evaluate(() => place.path.length)) === 1);
    const inside = await page.evaluate(graphProblem);
    await check(`the graph inside: ${inside}`, inside === null);
    await page.click('#crumbs .out');
  }
  await page.click('#theme');
  await context.close();
}

/** Nothing reads the last cell state of an LSTM: that no gradient comes in there is said. */
async function nothingComesIn(name) {
  const { context, page, check } = await open(name, { hash: '#t1/n4/backward' });
  const told = await page.evaluate(() => document.querySelector('#panel .nothing')?.textContent);
  await check(`of the last cell state it says ${told}`, told === "d_c5 (here d_c') = 0: nothing comes in, as nothing reads c5; the rule adds to it");
  await context.close();
}

/** On paper it is light whatever the screen is, nothing scrolls, and the graph has room. */
async function onPaper(name) {
  const { context, page, check } = await open(name, { scheme: 'dark', hash: '#t1/n4/backward' });
  await page.evaluate(() => { document.documentElement.dataset.theme = 'dark'; });
  await page.emulateMedia({ media: 'print' });
  const paper = await page.evaluate(() => {
    dispatchEvent(new Event('beforeprint'));
    const wide = document.querySelector('.sized').offsetWidth;
    const light = getComputedStyle(document.documentElement).getPropertyValue('--panel').trim();
    const cut = [...document.querySelectorAll('.scroll, .formulas, pre')].some((one) => getComputedStyle(one).overflowX !== 'visible');
    dispatchEvent(new Event('afterprint'));
    return { wide, light, cut, after: document.querySelector('.sized').offsetWidth };
  });
  await check(`on paper: ${JSON.stringify(paper)}`, paper.wide <= 660 && paper.light === '#ffffff' && !paper.cut && paper.after > 660);
  await context.close();
}

/** A link to a place leads there, in a page that was just opened. */
async function byLink(name) {
  const first = await open(name);
  await first.page.keyboard.press('g');
  const hash = await first.page.evaluate(() => location.hash);
  const text = await status(first.page);
  await first.context.close();
  const second = await open(name, { hash });
  await second.check(`${hash} leads elsewhere`, (await status(second.page)) === text);
  await second.context.close();
  const third = await open(name, { hash: '#t9/n999/sideways' });
  await third.context.close();
}

/** Nothing is wider than the window, whatever that is. */
async function narrow(name) {
  const { context, page, say } = await open(name);
  for (const width of [1280, 390, 320]) {
    await page.setViewportSize({ width, height: 844 });
    for (const key of ['t', 'f', 'g', 'End']) {
      await page.keyboard.press(key);
      const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (over > 0) say(`${key} at ${width}: ${over} pixels wider than the window`);
    }
  }
  await context.close();
}

/** Nothing serious for those who cannot see or point. */
async function accessible(name, width, scheme, keys) {
  const { context, page, say } = await open(name, { width, height: 844, scheme, bypassCSP: true });
  await page.evaluate(axe);
  for (const key of keys) {
    await page.keyboard.press(key);
    const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ['violations'] }));
    for (const { id, impact, nodes } of violations) {
      if (impact === 'serious' || impact === 'critical') say(`${key}: axe ${id} (${impact}): ${nodes[0].html.slice(0, 200)} ${nodes[0].failureSummary}`);
    }
    scanned += 1;
  }
  await context.close();
}

async function walk(name) {
  const before = problems.length;
  const html = readFileSync(path.join(folder, name));
  // A large page has more of the same.
  const large = html.length > 2e6;
  await byKeyboard(name, large ? 1 : 12);
  await byMouse(name);
  await byLink(name);
  await narrow(name);
  if (name === 'through-time.html') {
    await nothingComesIn(name);
    await onPaper(name);
  }
  if (name.startsWith('model')) await ofModels(name);
  // All pages are of the same parts: those that have most of them are scanned everywhere, in either
  // theme and width, the others at one place.
  if (THOROUGHLY.includes(name)) {
    await accessible(name, 1280, 'light', ['t', 'f', 'g', 'End']);
    await accessible(name, 390, 'dark', ['t', 'f', 'g', 'End']);
  } else if (!large) await accessible(name, 1280, 'light', ['g']);
  const bad = problems.slice(before).some((problem) => problem.startsWith(`${name} `));
  console.log(`${bad ? 'BAD' : 'ok '} ${name}: ${(html.length / 1e6).toFixed(2)} MB`);
}

/** How long a page takes to open, in seconds: the median of a few times. */
async function opening(name) {
  const times = [];
  for (let time = 0; time < 5; time++) {
    const { context, page } = await open(name);
    const { loadEventEnd } = await page.evaluate(() => performance.getEntriesByType('navigation')[0].toJSON());
    times.push(loadEventEnd / 1000);
    await context.close();
  }
  return times.sort((a, b) => a - b)[2];
}

const names = readdirSync(folder).filter((name) => name.endsWith('.html')).sort();
const waiting = [...names];
const worker = async () => { while (waiting.length > 0) await walk(waiting.shift()); };
await Promise.all(Array.from({ length: availableParallelism() }, worker));
// By themselves, when nothing else runs.
for (const name of names.filter((name) => name.startsWith('model'))) {
  const seconds = await opening(name);
  console.log(`${name} opens in ${seconds.toFixed(2)} s`);
  if (seconds >= OPEN_WITHIN) problems.push(`${name} opens in ${seconds.toFixed(2)} s, not within ${OPEN_WITHIN}`);
}
await browser.close();
console.log(`${walked} steps walked, ${scanned} scans for accessibility`);
for (const problem of problems.slice(0, 40)) console.log(problem);
if (problems.length > 0) {
  console.log(`${problems.length} problems`);
  process.exit(1);
}
