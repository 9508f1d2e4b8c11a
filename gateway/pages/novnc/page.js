// SPDX-License-Identifier: Apache-2.0
// The screen of a machine: noVNC, and what a person needs around it.
import RFB from '../vendor/novnc/core/rfb.js';
import { Session, fullscreen, toggle, unfold } from '../common/console.js';

const byId = (id) => document.getElementById(id);
const given = new URL(location.href).searchParams;
const wants_view_only = ['1', 'true'].includes(given.get('view_only'));
/** Typed into a machine at most, in characters: beyond that it is a file. */
const TYPED_MAX = 4096;
/** Time for a machine to begin to show a screen, in milliseconds: what is no VNC server may be silent for ever. */
const BEGIN_MS = 12_000;

let rfb = null;
let is_scaled = true;

function open(url, facts) {
    byId('screen').replaceChildren();
    const socket = new WebSocket(url, ['binary']);
    // noVNC closes by itself what it cannot go on with. It names no code, and some servers answer that with one that
    // must not be sent (RFC 6455 § 7.4.1).
    const close = socket.close.bind(socket);
    socket.close = () => {
        session.fail('What the machine sends is no screen that this page can show.');
        close(1000);
    };
    const view_only = facts.view_only || wants_view_only;
    byId('view-only').hidden = !view_only;
    for (const button of document.querySelectorAll('[data-writes]')) { button.hidden = view_only; }
    byId('clipboard-text').readOnly = view_only;
    const fresh = new RFB(byId('screen'), socket, { shared: true });
    rfb = fresh;
    rfb.viewOnly = view_only;
    rfb.background = '#0b0d10';
    rfb.focusOnClick = true;
    scaled(is_scaled);
    let is_over = false;
    await_screen(socket);
    rfb.addEventListener('disconnect', () => { is_over = true; clearTimeout(begins); });
    rfb.addEventListener('connect', () => { clearTimeout(begins); session.connected(); rfb.focus(); });
    rfb.addEventListener('desktopname', (event) => {
        document.title = `${session.name} · ${event.detail.name}`.slice(0, 200);
    });
    rfb.addEventListener('clipboard', (event) => { byId('clipboard-text').value = event.detail.text; });
    rfb.addEventListener('credentialsrequired', (event) => prompt(event.detail.types));
    rfb.addEventListener('securityfailure', (event) => {
        const { reason } = event.detail;
        session.fail(reason ? `The machine refused: ${reason}` : 'The machine did not take the password.');
    });
    return {
        socket,
        stop() {
            byId('credentials').hidden = true;
            if (!is_over) { fresh.disconnect(); }
        },
    };
}

let begins;
let awaited = null;

function await_screen(socket) {
    clearTimeout(begins);
    awaited = socket;
    begins = setTimeout(() => {
        session.fail('The machine did not begin to show a screen in time.');
        socket.close();
    }, BEGIN_MS);
}

/** A console whose password the gate does not hold. */
function prompt(types) {
    clearTimeout(begins);
    byId('spinner').hidden = true;
    byId('words').textContent = 'The machine asks for a password.';
    byId('credentials').hidden = false;
    byId('username-field').hidden = !types.includes('username');
    byId(types.includes('username') ? 'username' : 'password').focus();
}

byId('credentials').addEventListener('submit', (event) => {
    event.preventDefault();
    byId('credentials').hidden = true;
    byId('spinner').hidden = false;
    await_screen(awaited);
    rfb?.sendCredentials({ username: byId('username').value, password: byId('password').value });
    byId('password').value = '';
});

function scaled(is_on) {
    is_scaled = is_on;
    if (rfb !== null) {
        rfb.scaleViewport = is_on;
        rfb.clipViewport = false;
    }
}

/** Types text key by key: a machine without a clipboard (a login prompt, a firmware) takes nothing else. */
function type(text) {
    for (const character of [...text.replaceAll('\r\n', '\n')].slice(0, TYPED_MAX)) {
        const code = character.codePointAt(0);
        const special = { '\n': 0xff0d, '\t': 0xff09 }[character];
        const keysym = special ?? (code < 0x100 ? code : 0x1000000 + code);
        if (special === undefined && (code < 0x20 || code === 0x7f)) { continue; }
        rfb.sendKey(keysym, null);
    }
}

const show_clipboard = unfold('clipboard', 'clipboard-panel', 'clipboard-text');
byId('ctrl-alt-del').addEventListener('click', () => { rfb?.sendCtrlAltDel(); rfb?.focus(); });
byId('clipboard-send').addEventListener('click', () => {
    rfb?.clipboardPasteFrom(byId('clipboard-text').value);
    show_clipboard(false);
    rfb?.focus();
});
byId('clipboard-type').addEventListener('click', () => {
    type(byId('clipboard-text').value);
    show_clipboard(false);
    rfb?.focus();
});
fullscreen('fullscreen', document.documentElement);

/** How long the gate takes the same ticket again, in milliseconds, from when it opened a screen first. */
const PATIENCE_MS = 30_000;
const session = new Session({ plain: 'websockify', open, patience: PATIENCE_MS, is_from_first: true });
toggle('scale', given.get('resize') !== 'off', scaled);
session.begin();
