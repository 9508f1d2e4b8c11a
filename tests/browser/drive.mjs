// Drives Chromium for the tests: one step as JSON on each line of standard input, one answer on each of standard output.
//
//     node drive.mjs FOLDER      FOLDER/node_modules holds playwright-core
//
// What there is to do stands in `steps`.
import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const { chromium } = createRequire(join(process.argv[2], 'package.json'))('playwright-core');
const browser = await chromium.launch({
    executablePath: process.env.GATEHOUSE_CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--host-resolver-rules=MAP *.test 127.0.0.1'],
});
const context = await browser.newContext({ viewport: { width: 1000, height: 700 }, ignoreHTTPSErrors: true });
const page = await context.newPage();
const complaints = [];
page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) { complaints.push(message.text()); }
});
page.on('pageerror', (error) => complaints.push(String(error)));

const steps = {
    async goto({ url }) {
        const answer = await page.goto(url);
        return { status: answer.status(), fields: answer.headers() };
    },
    async wait({ state }) {
        await page.waitForFunction((wanted) => document.body.dataset.state === wanted, state);
        return { words: await page.textContent('#words'), detail: await page.textContent('#detail') };
    },
    /** Waits until the page is no longer connecting. */
    async settled() {
        await page.waitForFunction(() => ['connected', 'closed'].includes(document.body.dataset.state));
        return {
            state: await page.evaluate(() => document.body.dataset.state),
            words: await page.textContent('#words'), detail: await page.textContent('#detail'),
        };
    },
    async reload() { await page.reload(); return {}; },
    /** Waits until the element's text has `contains`, and gives all of it. */
    async text({ of, contains = '' }) {
        await page.waitForFunction(
            ([of, contains]) => document.querySelector(of)?.textContent.includes(contains), [of, contains]);
        return { text: await page.textContent(of) };
    },
    /** A page that draws so many times slower, whatever the machine does meanwhile. */
    async slow({ rate }) {
        const session = await context.newCDPSession(page);
        await session.send('Emulation.setCPUThrottlingRate', { rate });
        return {};
    },
    /** From here on the page's clock is so much later. */
    async later({ ms_later }) {
        await page.evaluate((later) => {
            const now = Date.now;
            Date.now = () => now() + later;
        }, ms_later);
        return {};
    },
    async type({ text }) { await page.keyboard.type(text); return {}; },
    async press({ key }) { await page.keyboard.press(key); return {}; },
    /** A paste as the browser makes it of a person's. */
    async paste({ into, text }) {
        await page.evaluate(([into, text]) => {
            const data = new DataTransfer();
            data.setData('text/plain', text);
            const event = new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true });
            document.querySelector(into).dispatchEvent(event);
        }, [into, text]);
        return {};
    },
    async click({ on }) { await page.click(on); return {}; },
    async fill({ into, text }) { await page.fill(into, text); return {}; },
    async size({ width, height }) { await page.setViewportSize({ width, height }); return {}; },
    async shot({ to }) { await page.screenshot({ path: to }); return {}; },
    /** Colours in the canvas: how many, and how much of it is not the most common one. */
    async colours() {
        return page.evaluate(() => {
            const canvas = document.querySelector('#screen canvas');
            const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            const counts = new Map();
            for (let at = 0; at < data.length; at += 4) {
                const colour = (data[at] << 16) | (data[at + 1] << 8) | data[at + 2];
                counts.set(colour, (counts.get(colour) ?? 0) + 1);
            }
            const most = Math.max(...counts.values());
            return {
                width: canvas.width, height: canvas.height, colours: counts.size,
                other: (data.length / 4 - most) / (data.length / 4),
            };
        });
    },
    /** Whether an element is shown, may be used, and what it says of itself. */
    async element({ of }) {
        return page.evaluate((of) => {
            const found = document.querySelector(of);
            return {
                shown: found.offsetParent !== null,
                enabled: !found.disabled,
                pressed: found.getAttribute('aria-pressed'),
                height: found.getBoundingClientRect().height,
            };
        }, of);
    },
    /** What the window is called, and what has the keyboard. */
    async page() {
        return page.evaluate(() => ({ title: document.title, focus: document.activeElement.id }));
    },
    async complaints() { return { complaints: complaints.splice(0) }; },
};

for await (const line of createInterface({ input: process.stdin })) {
    const step = JSON.parse(line);
    let answer;
    try {
        page.setDefaultTimeout(step.ms ?? 20_000);
        answer = await steps[step.do](step);
    } catch (error) {
        const shown = await page.evaluate(() => document.body?.innerText ?? '').catch(() => '');
        answer = { error: `${error.message}\n${shown}\n${complaints.join('\n')}` };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
