// SPDX-License-Identifier: Apache-2.0
// A terminal in the browser: xterm.js, and the protocol of PROTOCOL.md.
import '../common/sheets.js';
import { Terminal } from '../vendor/xterm/xterm.mjs';
import { FitAddon } from '../vendor/xterm/addon-fit.mjs';
import { Session, fullscreen, toggle, unfold } from '../common/console.js';

const byId = (id) => document.getElementById(id);
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Commands; the first byte of each message. */
const INPUT = 0x30, RESIZE = 0x31, PAUSE = 0x32, RESUME = 0x33;
const OUTPUT = 0x30, TITLE = 0x31, PREFERENCES = 0x32, REPLAY = 0x33, REASON = 0x34;

/** Bytes that wait to be drawn when the other end is asked to pause, and when to go on. */
const WAITING_HIGH = 512 * 1024, WAITING_LOW = 128 * 1024;
/** Bytes of input in one message: a paste is many. */
const INPUT_MAX = 16 * 1024;
/**
 * Silence after which the size is said again, in milliseconds: a connection that breaks is noticed by who sends. The gate
 * does not take it for movement. Of an untouched ttyd it would, for it reads nothing in it; ttyd has pings of its own.
 */
const KEEP_ALIVE_MS = 25_000;
/** A resize is told when dragging has paused, in milliseconds. */
const RESIZE_MS = 60;
/** How long the gate keeps a terminal for a page that was lost, in milliseconds. */
const PATIENCE_MS = 60_000;
const FONT_MIN = 8, FONT_MAX = 32;

const terminal = new Terminal({
    fontFamily: 'ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace',
    fontSize: 14,
    scrollback: 5000,
    cursorBlink: true,
    theme: { background: '#14171c', foreground: '#e8ebf0', cursor: '#6cb2ff', selectionBackground: '#3a4a60' },
});
const fit = new FitAddon();
terminal.loadAddon(fit);
terminal.open(byId('screen'));
fit.fit();

let socket = null;
let last_sent = 0;
let waiting = 0;
let is_paused = false;
/** Whether there is a shell at the other end. */
let has_begun = false;
/** Messages of before that are not drawn yet. What they ask of the terminal was asked of another page. */
let replaying = 0;

const isOpen = () => socket !== null && socket.readyState === WebSocket.OPEN;

/**
 * What this page is known by when it comes back, and nobody else: the ticket stands in its address, this does not. A
 * reload keeps it.
 */
function secret() {
    const ticket = session.there.toString().slice(-32);
    try {
        const kept = JSON.parse(sessionStorage.getItem('terminal') ?? '{}');
        if (kept.ticket === ticket) { return kept.secret; }
    } catch { /* Nothing is kept here. */ }
    const random = crypto.getRandomValues(new Uint8Array(32));
    const fresh = Array.from(random, (byte) => byte.toString(16).padStart(2, '0')).join('');
    try { sessionStorage.setItem('terminal', JSON.stringify({ ticket, secret: fresh })); } catch { /* Until a reload. */ }
    return fresh;
}

function send(command, bytes) {
    if (!isOpen()) { return; }
    const message = new Uint8Array(bytes.length + 1);
    message[0] = command;
    message.set(bytes, 1);
    socket.send(message);
    last_sent = Date.now();
}

function input(bytes) {
    if (!has_begun || replaying > 0) { return; }
    for (let at = 0; at < bytes.length; at += INPUT_MAX) {
        send(INPUT, bytes.subarray(at, at + INPUT_MAX));
    }
}

function resized() {
    send(RESIZE, encoder.encode(JSON.stringify({ columns: terminal.cols, rows: terminal.rows })));
}

/** The first word of a shell: what comes now is a new one, or all of the old one that is still known. */
function begins() {
    if (has_begun) { return; }
    has_begun = true;
    // A reset that waits its turn: what the page before could not draw is drawn first, and answered to nobody.
    replay(Uint8Array.of(0x1b, 0x63));
    session.connected();
    terminal.focus();
}

/** Draws, and asks the other end to wait when drawing is behind. */
function output(bytes) {
    const from = socket;
    waiting += bytes.length;
    if (!is_paused && waiting > WAITING_HIGH) {
        is_paused = true;
        send(PAUSE, new Uint8Array());
    }
    terminal.write(bytes, () => {
        if (socket !== from) { return; }
        waiting -= bytes.length;
        if (is_paused && waiting < WAITING_LOW) {
            is_paused = false;
            send(RESUME, new Uint8Array());
        }
    });
}

/** Draws what was printed before, and lets the terminal answer nothing of it. */
function replay(bytes) {
    const from = socket;
    replaying += 1;
    terminal.write(bytes, () => { if (socket === from) { replaying -= 1; } });
}

/** Names the window: the machine, and what runs in it where that is said. */
function entitle(text) {
    const more = text.trim();
    document.title = (more === '' || more === session.name ? `${session.name} · terminal` : `${more} · ${session.name}`).slice(0, 200);
}

/** What a back end may say about looks, and nothing else. */
function prefer(text) {
    let wanted;
    try { wanted = JSON.parse(text); } catch { return; }
    if (wanted === null || typeof wanted !== 'object') { return; }
    if (Number.isInteger(wanted.fontSize)) { font(wanted.fontSize); }
    if (typeof wanted.cursorBlink === 'boolean') { terminal.options.cursorBlink = wanted.cursorBlink; }
    if (['block', 'underline', 'bar'].includes(wanted.cursorStyle)) { terminal.options.cursorStyle = wanted.cursorStyle; }
}

function received(event) {
    // A message of text is no message of this protocol.
    if (typeof event.data === 'string' || event.data.byteLength === 0) { return; }
    const bytes = new Uint8Array(event.data);
    const rest = bytes.subarray(1);
    if (bytes[0] === OUTPUT || bytes[0] === TITLE || bytes[0] === REPLAY) { begins(); }
    switch (bytes[0]) {
        case OUTPUT: return output(rest);
        case REPLAY: return replay(rest);
        case TITLE: return entitle(decoder.decode(rest));
        case REASON: session.reason = decoder.decode(rest); return;
        case PREFERENCES: return prefer(decoder.decode(rest));
        default:
    }
}

function open(url) {
    const fresh = new WebSocket(url, ['tty']);
    fresh.binaryType = 'arraybuffer';
    socket = fresh;
    fresh.addEventListener('open', () => {
        if (socket !== fresh) { return; }
        [waiting, is_paused, has_begun, replaying] = [0, false, false, 0];
        fit.fit();
        const hello = { AuthToken: '', columns: terminal.cols, rows: terminal.rows, secret: known_by };
        fresh.send(encoder.encode(JSON.stringify(hello)));
        last_sent = Date.now();
    });
    fresh.addEventListener('message', (event) => { if (socket === fresh) { received(event); } });
    return {
        socket: fresh,
        stop() {
            fresh.close(1000);
            if (socket === fresh) { socket = null; }
        },
    };
}

function font(size) {
    terminal.options.fontSize = Math.min(FONT_MAX, Math.max(FONT_MIN, size));
    fit.fit();
}

// A program in a terminal takes every key, Tab among them: this one leaves it, for who has no mouse.
terminal.attachCustomKeyEventHandler((event) => {
    if (event.type !== 'keydown' || event.key !== 'F6' || !event.ctrlKey || !event.shiftKey) { return true; }
    event.preventDefault();
    byId('smaller').focus();
    return false;
});
terminal.textarea.setAttribute('aria-describedby', 'way-out');
terminal.onTitleChange(entitle);
terminal.onData((text) => input(encoder.encode(text)));
// Reports of a mouse in its old form: bytes, not text.
terminal.onBinary((text) => input(Uint8Array.from(text, (character) => character.charCodeAt(0))));
let resizing;
terminal.onResize(() => {
    clearTimeout(resizing);
    resizing = setTimeout(resized, RESIZE_MS);
});
new ResizeObserver(() => fit.fit()).observe(byId('screen'));
setInterval(() => {
    const is_passed_on = session.facts?.kind === 'ttyd';
    if (!is_passed_on && Date.now() - last_sent >= KEEP_ALIVE_MS) { resized(); }
}, 5000);

byId('smaller').addEventListener('click', () => font(terminal.options.fontSize - 1));
byId('larger').addEventListener('click', () => font(terminal.options.fontSize + 1));
const show_paste = unfold('paste', 'paste-panel', 'paste-text');
byId('paste-send').addEventListener('click', () => {
    terminal.paste(byId('paste-text').value);
    byId('paste-text').value = '';
    show_paste(false);
    terminal.focus();
});
fullscreen('fullscreen', document.documentElement);
toggle('reader', false, (is_on) => { terminal.options.screenReaderMode = is_on; });

const session = new Session({ plain: 'ws', open, patience: PATIENCE_MS });
const known_by = secret();
session.begin();
