// Opens the pages in a real browser and walks through them, by mouse and by keyboard.
//
//   node walk.mjs FOLDER     a folder of pages; those named model*.html are of models

import { readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { chromium } from 'playwright-core';

const require = createRequire(import.meta.url);
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const folder = path.resolve(process.argv[2]);
const problems = [];
let walked = 0;

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

/** To the end and back, by keys; at each step there are formula, numbers and source. */
async function byKeyboard(name, fusedNodes) {
  const { context, page, check, say } = await open(name);
  const count = Math.min(await steps(page), 400);
  await page.keyboard.press('Home');
  for (let step = 0; step < count; step++) {
    const found = await page.evaluate(() => ({
      step: place.step,
      update: here().steps[place.step] === 'update',
      formulas: document.querySelectorAll('#panel math').length,
      numbers: document.querySelectorAll('#panel td').length,
      source: document.querySelectorAll('#panel pre').length,
    }));
    await check(`step ${step} is ${found.step}`, found.step === step);
    await check(`step ${step} has no formula`, found.update || found.formulas > 0 || name === 'names.html');
    await check(`step ${step} has no numbers`, found.numbers > 0);
    await check(`step ${step} has no source`, found.update || found.source > 0 || name === 'names.html');
    walked += 1;
    if (step + 1 < count) await page.keyboard.press('ArrowRight');
  }
  for (let step = 1; step < count; step++) await page.keyboard.press('ArrowLeft');
  await check('the way back does not end at the first step', (await page.evaluate(() => place.step)) === 0);
  await page.keyboard.press('b');
  await check('b does not go to the backward pass', (await status(page)).includes('backward'));
  await page.keyboard.press('f');
  await check('f does not go to the forward pass', (await status(page)).includes('forward'));
  // Into every fused node and out again.
  const fused = await page.evaluate(() => here().nodes.flatMap((node, index) => (node.opened ? [index] : [])));
  for (const index of fused.slice(0, fusedNodes)) {
    await page.evaluate((index) => go.node(index, false), index);
    await page.keyboard.press('Enter');
    await check(`node ${index} does not open`, (await page.evaluate(() => place.path.length)) === 1);
    await page.keyboard.press('End');
    await page.keyboard.press('Home');
    await page.keyboard.press('Escape');
    await check(`node ${index} is not left`, (await page.evaluate(() => place.path.length)) === 0);
  }
  // The numbers of an array, by arrow keys.
  await page.keyboard.press('b');
  await page.locator('#panel td[tabindex="0"]').first().focus();
  await page.keyboard.press('ArrowRight');
  await check('the number one is at is not read out', (await page.textContent('#read')).includes('='));
  // Search.
  await page.keyboard.press('/');
  const word = await page.evaluate(() => here().nodes[0].op);
  await page.keyboard.type(word);
  await page.keyboard.press('Enter');
  await check('search finds nothing', await page.evaluate(() => location.hash !== '' && document.activeElement !== document.getElementById('search')));
  await page.keyboard.press('?');
  await check('no help', await page.locator('#keys').isVisible());
  await page.keyboard.press('Escape');
  if ((await page.evaluate(() => lesson.traces.length)) > 1) {
    await page.keyboard.press('2');
    await check('2 does not choose the second computation', (await page.evaluate(() => place.trace)) === 1);
  }
  await context.close();
}

async function byMouse(name) {
  const { context, page, check } = await open(name, { scheme: 'dark' });
  const count = Math.min(await steps(page), 60);
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
  if ((await page.textContent('#play')) === 'pause') await page.click('#play');
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
    await page.click('#crumbs .out');
  }
  await page.click('#theme');
  await context.close();
}

/** A link to a place leads there, in a page that was just opened. */
async function byLink(name) {
  const first = await open(name);
  await first.page.keyboard.press('b');
  const hash = await first.page.evaluate(() => location.hash);
  const text = await status(first.page);
  await first.context.close();
  const second = await open(name, { hash });
  await second.check(`${hash} leads elsewhere`, (await status(second.page)) === text);
  await second.context.close();
  const third = await open(name, { hash: '#t9/n999/sideways' });
  await third.context.close();
}

/** Nothing serious for those who cannot see or point, and nothing wider than the window. */
async function accessible(name, widths) {
  for (const scheme of ['light', 'dark']) {
    for (const width of widths) {
      const { context, page, say } = await open(name, { width, height: 844, scheme, bypassCSP: true });
      for (const key of ['v', 'f', 'b', 'End']) {
        await page.keyboard.press(key);
        const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        if (over > 0) say(`${key}: ${over} pixels wider than the window`);
        if (width === 320) continue;
        await page.evaluate(axe);
        const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ['violations'] }));
        for (const { id, impact, nodes } of violations) {
          if (impact === 'serious' || impact === 'critical') say(`${key}: axe ${id} (${impact}): ${nodes[0].html.slice(0, 200)} ${nodes[0].failureSummary}`);
        }
      }
      await context.close();
    }
  }
}

for (const name of readdirSync(folder).filter((name) => name.endsWith('.html')).sort()) {
  const before = problems.length;
  // A large page has more of the same: each walk through it takes long.
  const large = readFileSync(path.join(folder, name)).length > 2e6;
  await byKeyboard(name, large ? 1 : 12);
  await byMouse(name);
  await byLink(name);
  if (!large) await accessible(name, [1280, 390, 320]);
  const { context, page } = await open(name);
  const { loadEventEnd } = await page.evaluate(() => performance.getEntriesByType('navigation')[0].toJSON());
  const size = (readFileSync(path.join(folder, name)).length / 1e6).toFixed(2);
  console.log(`${problems.length === before ? 'ok ' : 'BAD'} ${name}: ${size} MB, open after ${(loadEventEnd / 1000).toFixed(2)} s`);
  await context.close();
}
await browser.close();
console.log(`${walked} steps walked`);
for (const problem of problems.slice(0, 40)) console.log(problem);
if (problems.length > 0) {
  console.log(`${problems.length} problems`);
  process.exit(1);
}
