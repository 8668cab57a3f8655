// Opens reports of `sekat prove` in a real Chromium and tells what a reader would trip over: one finding a line.
//
//   node check-report.mjs CHROMIUM AXE REPORT...
//
// AXE is axe-core's `axe.min.js`. Ends with 0 if nothing is found, with 3 if something is, with 1 if it cannot look.

import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const LANGUAGES = {
  id: ["TERBUKTI", "DILANGGAR", "BELUM TERBUKTI"],
  en: ["HOLDS", "VIOLATED", "NOT PROVEN"],
};
/** A phone and a desk, in CSS pixels. */
const WIDTHS = [360, 1440];
const SCHEMES = ["light", "dark"];
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
/** What is left of the width of A4 (210 mm) between margins of 16 mm, in CSS pixels of 1/96 inch. */
const PRINTED_WIDTH = Math.ceil(((210 - 2 * 16) / 25.4) * 96);
/** A4 in points. */
const A4 = [595, 842];
/** One command of the browser; axe on a report of thousands of rows is the slowest. */
const COMMAND_LIMIT_MS = 120_000;

/** Chromium, spoken to over two pipes: JSON messages with a zero byte after each. */
class Browser {
  #child;
  #waiting = new Map();
  #last = 0;
  #rest = "";
  #listeners = new Map();

  constructor(program, profile) {
    const flags = ["--headless", "--remote-debugging-pipe", `--user-data-dir=${profile}`, "--no-first-run"];
    flags.push("--disable-gpu", "--disable-dev-shm-usage", "--no-default-browser-check");
    // Chromium refuses to sandbox what root starts; the page is our own.
    if (process.getuid?.() === 0) flags.push("--no-sandbox");
    this.#child = spawn(program, flags, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
    this.ended = new Promise((done) => this.#child.once("close", done));
    this.#child.once("error", (error) => this.#fail(error));
    this.#child.once("exit", (code) => this.#fail(new Error(`Chromium ended with ${code}`)));
    this.#child.stdio[3].on("error", (error) => this.#fail(error));
    this.#child.stdio[4].setEncoding("utf8").on("data", (text) => this.#read(text));
  }

  #fail(error) {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }

  #read(text) {
    const messages = (this.#rest + text).split("\0");
    this.#rest = messages.pop();
    for (const message of messages.map((message) => JSON.parse(message))) {
      const waiting = this.#waiting.get(message.id);
      if (waiting) {
        this.#waiting.delete(message.id);
        if (message.error) waiting.reject(new Error(`${waiting.method}: ${message.error.message}`));
        else waiting.resolve(message.result);
      } else {
        this.#listeners.get(message.sessionId)?.(message.method, message.params);
      }
    }
  }

  listen(session, listener) {
    this.#listeners.set(session, listener);
  }

  send(method, params = {}, sessionId = undefined) {
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`${method}: no answer`)), COMMAND_LIMIT_MS);
      const over = (then) => (value) => (clearTimeout(late), then(value));
      this.#waiting.set(id, { method, resolve: over(resolve), reject: over(reject) });
      this.#child.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    });
  }

  async close() {
    await this.send("Browser.close").catch(() => this.#child.kill());
    await this.ended;
  }
}

/** One report in a tab of its own. */
class Page {
  constructor(browser, session, url, find) {
    Object.assign(this, { browser, session, url, find });
    browser.listen(session, (method, params) => this.#heard(method, params));
  }

  static async open(browser, url, find) {
    const { targetId } = await browser.send("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await browser.send("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page(browser, sessionId, url, find);
    for (const domain of ["Page", "Runtime", "Log", "Network"]) await page.send(`${domain}.enable`);
    return page;
  }

  send(method, params) {
    return this.browser.send(method, params, this.session);
  }

  #heard(method, params) {
    if (method === "Page.loadEventFired") this.loaded?.();
    if (method === "Runtime.consoleAPICalled" && params.type === "error") this.find("the console has an error");
    if (method === "Runtime.exceptionThrown") this.find(`an exception: ${params.exceptionDetails.text}`);
    if (method === "Log.entryAdded" && params.entry.level === "error") {
      this.find(`the console says: ${params.entry.text}`);
    }
    if (method === "Network.requestWillBeSent" && params.request.url !== this.url) {
      this.find(`a request to ${params.request.url}`);
    }
    if (method === "Network.loadingFailed") this.find(`a request failed: ${params.errorText}`);
  }

  async load() {
    const loaded = new Promise((done) => (this.loaded = done));
    await this.send("Page.navigate", { url: this.url });
    await loaded;
  }

  /** What `script`, a function of this page, returns. */
  async ask(script, ...values) {
    const expression = `(${script})(...${JSON.stringify(values)})`;
    const asked = await this.send("Runtime.evaluate", { expression, returnByValue: true, awaitPromise: true });
    if (asked.exceptionDetails) throw new Error(asked.exceptionDetails.exception?.description ?? "a script failed");
    return asked.result.value;
  }

  async show(width, scheme, media) {
    const mobile = width < 600 && media === "screen";
    await this.send("Emulation.setDeviceMetricsOverride", { width, height: 800, deviceScaleFactor: 1, mobile });
    const features = [{ name: "prefers-color-scheme", value: scheme }];
    await this.send("Emulation.setEmulatedMedia", { media, features });
  }

  /** Chooses a language as a reader does: with the mouse. */
  async choose(language) {
    const [x, y] = await this.ask((language) => {
      window.scrollTo(0, 0);
      const box = document.querySelector(`.switch [lang=${language}]`).getBoundingClientRect();
      return [box.x + box.width / 2, box.y + box.height / 2];
    }, language);
    for (const type of ["mousePressed", "mouseReleased"]) {
      await this.send("Input.dispatchMouseEvent", { type, x, y, button: "left", clickCount: 1 });
    }
  }
}

/** In the page: words in the other language that are seen. */
function foreign(other) {
  const all = [...document.querySelectorAll(`body [lang=${other}]:not(.keep)`)];
  const seen = all.filter((element) => element.textContent && element.checkVisibility());
  return seen.map((element) => element.textContent);
}

/** In the page: what sticks out of it, out of a box that cuts it off, or out of its box in the drawing. */
function clipped(width, scrolls) {
  const found = [];
  const name = (element) => `<${element.localName} class="${element.getAttribute("class") ?? ""}">`;
  const seen = document.documentElement.scrollWidth;
  if (seen > width) found.push(`the page is ${seen} wide, which scrolls sideways`);
  for (const element of document.querySelectorAll("body *")) {
    if (!element.checkVisibility() || element.matches("input.lang")) continue;
    const cuts = getComputedStyle(element).overflowX !== "visible" && element.localName !== "svg";
    const moves = scrolls && element.tabIndex === 0;
    if (cuts && !moves && element.scrollWidth > element.clientWidth) found.push(`${name(element)} is cut off`);
    if (element.ownerSVGElement || (scrolls && element.closest("[tabindex]"))) continue;
    const { right } = element.getBoundingClientRect();
    if (right > width + 0.5) found.push(`${name(element)} ends at ${Math.round(right)}`);
  }
  for (const text of document.querySelectorAll("svg text")) {
    const box = (text.closest("g")?.querySelector("rect") ?? text.ownerSVGElement).getBoundingClientRect();
    const words = text.getBoundingClientRect();
    if (words.left < box.left - 0.5 || words.right > box.right + 0.5) {
      found.push(`${text.textContent} is wider than its box`);
    }
  }
  return found;
}

/** In the page: how many rows that can be unfolded on a screen are not on paper. */
function foldedCells() {
  const seen = (cell) => cell.checkVisibility({ contentVisibilityAuto: true }) && cell.offsetHeight > 0;
  return [...document.querySelectorAll("details td")].filter((cell) => !seen(cell)).length;
}

/** In the page: the first heading that is seen. */
function firstHeading() {
  const headings = [...document.querySelectorAll("h1,h2,h3,h4,h5,h6")];
  return headings.find((heading) => heading.checkVisibility())?.innerText.trim();
}

async function onScreen(page, axe, verdicts) {
  for (const [language, words] of Object.entries(LANGUAGES)) {
    for (const width of WIDTHS) {
      for (const scheme of SCHEMES) {
        const find = (what) => page.find(`${language}, ${width} px, ${scheme}: ${what}`);
        await page.show(width, scheme, "screen");
        await page.choose(language);
        const others = await page.ask(foreign, language === "id" ? "en" : "id");
        if (others.length > 0) find(`in the other language: ${others[0]}`);
        const heading = await page.ask(firstHeading);
        verdicts.add(words.indexOf(heading));
        if (!words.includes(heading)) find(`the first heading is no verdict: ${heading}`);
        await page.ask(() => document.querySelectorAll("details").forEach((details) => (details.open = true)));
        (await page.ask(clipped, width, true)).forEach(find);
        if (!(await page.ask(() => "axe" in window))) await page.send("Runtime.evaluate", { expression: axe });
        const violations = await page.ask(async (rules) => {
          const result = await window.axe.run({ runOnly: rules, resultTypes: ["violations"] });
          return result.violations.map((rule) => `${rule.id}: ${rule.help}: ${rule.nodes[0].html}`);
        }, RULES);
        violations.forEach(find);
      }
    }
  }
}

async function onPaper(page) {
  for (const language of Object.keys(LANGUAGES)) {
    const find = (what) => page.find(`${language}, A4: ${what}`);
    await page.show(PRINTED_WIDTH, "light", "screen");
    await page.load();
    await page.choose(language);
    await page.show(PRINTED_WIDTH, "light", "print");
    (await page.ask(clipped, PRINTED_WIDTH, false)).forEach(find);
    const folded = await page.ask(foldedCells);
    if (folded > 0) find(`${folded} cells are folded away`);
    const { data } = await page.send("Page.printToPDF", { preferCSSPageSize: true, printBackground: true });
    const pdf = Buffer.from(data, "base64").toString("latin1");
    const pages = pdf.match(/\/Type\s*\/Page\b/g)?.length ?? 0;
    if (pages === 0) find("it prints no page");
    const boxes = pdf.matchAll(/\/MediaBox\s*\[\s*0\s+0\s+([\d.]+)\s+([\d.]+)\s*\]/g);
    const sizes = [...boxes].map((size) => size.slice(1).map(Number));
    const fits = ([width, height]) => Math.abs(width - A4[0]) < 1 && Math.abs(height - A4[1]) < 1;
    if (sizes.length === 0 || !sizes.every(fits)) find(`its pages are ${JSON.stringify(sizes[0])} points`);
  }
}

async function main([chromium, axePath, ...reports]) {
  if (reports.length === 0) throw new Error("name Chromium, axe.min.js, and at least one report");
  const axe = await readFile(axePath, "utf8");
  const profile = await mkdtemp(join(tmpdir(), "sekat-chromium-"));
  const browser = new Browser(chromium, profile);
  const found = new Set();
  try {
    for (const report of reports) {
      const find = (what) => found.add(`${report}: ${what}`);
      const page = await Page.open(browser, pathToFileURL(resolve(report)).href, find);
      const verdicts = new Set();
      await page.load();
      await onScreen(page, axe, verdicts);
      if (verdicts.size > 1) page.find("the languages disagree on the verdict");
      await onPaper(page);
      await browser.send("Target.detachFromTarget", { sessionId: page.session });
    }
  } finally {
    await browser.close();
    await rm(profile, { recursive: true, force: true });
  }
  for (const finding of found) console.log(finding);
  return found.size === 0 ? 0 : 3;
}

main(process.argv.slice(2)).then(
  (code) => (process.exitCode = code),
  (error) => {
    console.error(`check-report: ${error.message}`);
    process.exitCode = 1;
  },
);
