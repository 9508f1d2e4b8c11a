// SPDX-License-Identifier: Apache-2.0
// What both pages do: find the ticket, ask what it opens, say what happens, and try again while that makes sense.

/** Waits between attempts, in milliseconds; the last one over and over for as long as the gate waits. */
const WAITS = [300, 1000, 2000, 4000, 5000];
/** Attempts to reach a machine that was there before; after the last the person decides. */
const ATTEMPTS_MAX = 4;
/** Longest wait for an answer, and for a connection, in milliseconds: a network that was cut says nothing. */
const ANSWER_MS = 8000;

const byId = (id) => document.getElementById(id);

/** Where the WebSocket of this page is; `plain` is its path beside the page, as users of other gates know it. */
export function address(plain) {
    const here = new URL(location.href);
    here.hash = '';
    if (/\/console\/[^/]+$/.test(here.pathname)) {
        here.search = '';
        return here;
    }
    const given = here.searchParams;
    // noVNC's own addresses have it in the path: ?path=websockify?token=…
    const nested = /[?&]token=([^&]*)/.exec(given.get('path') ?? '');
    const token = given.get('token') ?? (nested && decodeURIComponent(nested[1])) ?? '';
    const there = new URL(plain, here);
    there.search = new URLSearchParams({ token }).toString();
    return there;
}

export function socketAddress(there) {
    const socket = new URL(there);
    socket.protocol = there.protocol === 'https:' ? 'wss:' : 'ws:';
    return socket.toString();
}

/** What the ticket opens: `{ facts }`, `{ refused }` in words, or `{}` where nobody answers. */
export async function ask(there) {
    try {
        const signal = AbortSignal.timeout(ANSWER_MS);
        const answer = await fetch(there, { headers: { Accept: 'application/json' }, cache: 'no-store', signal });
        const told = await answer.json();
        return answer.ok ? { facts: told } : { refused: told.refused ?? `The gate answered ${answer.status}.` };
    } catch {
        return {};
    }
}

const WORDS = {
    1000: 'The console was closed.',
    1001: 'The gate is restarting.',
    1002: 'The console and this page do not understand each other.',
    1006: 'The connection was lost.',
    1008: 'The console was ended.',
    1009: 'A message was too large for this console.',
    1011: 'The console failed.',
    1013: 'The gate is busy.',
    4000: 'The console was not opened.',
    4001: 'The machine closed the connection.',
};

/** The end of a WebSocket in words; `told` is a reason for which the closing frame had no room. */
export function inWords(event, told, kind) {
    const reason = (told ?? event.reason).trim();
    if (reason === '') {
        // ttyd itself closes with 1006 after a program that failed, which a browser takes for a broken connection.
        if (event.code === 1006 && kind === 'ttyd') { return 'The program failed, or the connection was lost.'; }
        return WORDS[event.code] ?? 'The console was closed.';
    }
    const sentence = reason[0].toUpperCase() + reason.slice(1);
    return /[.!?]$/.test(sentence) ? sentence : `${sentence}.`;
}

/** Ends after which the same ticket may still work: the network's and the gate's restart, … */
const isNetworks = (code) => code === 1001 || code === 1006 || code === 1012 || code === 1013;
/** … and a machine that is away, where the ticket serves again. */
const isMachines = (code, kind) => code === 1011 && kind === 'vnc';
/** Ends after which the ticket opens nothing any more: no shell was opened, the machine ended it, a shell is over. */
const isFinal = (code, kind) => code >= 4000 || (code === 1000 && kind === 'ssh');

/**
 * When a page began to open what this ticket opens, in milliseconds since 1970; now, if none did. A reload keeps it. The
 * gate counts from a moment later, so the page promises nothing that it does not give.
 */
function firstOpened(ticket) {
    try {
        const kept = JSON.parse(sessionStorage.getItem('first') ?? '{}');
        if (kept.ticket === ticket && Number.isFinite(kept.at)) { return kept.at; }
    } catch { /* Nothing is kept here. */ }
    const at = Date.now();
    try { sessionStorage.setItem('first', JSON.stringify({ ticket, at })); } catch { /* Until a reload. */ }
    return at;
}

/**
 * One console on the page. `open(url, facts)` begins a connection and returns `{ socket, stop }`; the gate waits
 * `patience` milliseconds for a page that was lost, or takes its ticket again for so long from when it opened something
 * first (`is_from_first`). The page is told by `onState(state)`: connecting, connected, closed.
 */
export class Session {
    constructor({ plain, open, patience, is_from_first = false, onState }) {
        this.there = address(plain);
        this.open = open;
        this.patience = patience;
        this.is_from_first = is_from_first;
        this.onState = onState ?? (() => {});
        this.restart();
        this.wasOpen = false;
        this.current = null;
        byId('again').addEventListener('click', () => {
            // While it waits for its next attempt this is that one, and the gate waits no longer for it.
            if (this.timer === undefined) { this.restart(); }
            this.begin();
        });
        byId('leave').addEventListener('click', () => this.leave());
        addEventListener('online', () => { if (this.timer !== undefined) { this.begin(); } });
    }

    /** Counts attempts anew. */
    restart() {
        this.attempt = 0;
        this.lost_at = undefined;
        this.lost_by = undefined;
    }

    async begin() {
        clearTimeout(this.timer);
        this.timer = undefined;
        this.has_left = false;
        this.failure = undefined;
        this.reason = undefined;
        this.show('connecting', this.wasOpen ? 'Connecting again…' : 'Connecting…');
        const { facts, refused } = await ask(this.there);
        if (this.has_left) { return; }
        if (refused !== undefined) { return this.end(this.whole(refused), '', false); }
        if (facts === undefined) { return this.retry('The gate does not answer.', ''); }
        this.facts = facts;
        this.name = facts.vm;
        byId('name').textContent = facts.vm;
        document.title = `${facts.vm} · console`;
        byId('view-only').hidden = !facts.view_only;
        this.first_at ??= firstOpened(this.there.toString().slice(-32));
        const current = this.open(socketAddress(this.there), facts);
        this.current = current;
        setTimeout(() => { if (current.socket.readyState === WebSocket.CONNECTING) { current.socket.close(); } }, ANSWER_MS);
        current.socket.addEventListener('close', (event) => {
            if (this.current === current) { this.closed(event); }
        });
    }

    /** The console shows something. */
    connected() {
        this.wasOpen = true;
        this.restart();
        this.show('connected', 'Connected');
    }

    /** Ends the attempt with a reason that no closing frame says; the first one counts. */
    fail(words) {
        this.failure ??= words;
    }

    leave() {
        this.has_left = true;
        const current = this.current;
        this.current = null;
        current?.stop();
        clearTimeout(this.timer);
        this.timer = undefined;
        this.end('You closed this console.', '', true);
    }

    closed(event) {
        const current = this.current;
        this.current = null;
        current.stop();
        const words = this.failure ?? inWords(event, this.reason, this.facts.kind);
        const has_failed = this.failure !== undefined;
        this.failure = undefined;
        const detail = `Code ${event.code}`;
        if (!has_failed && isNetworks(event.code)) { return this.retry(words, detail); }
        const may = !has_failed && isMachines(event.code, this.facts.kind) && this.wasOpen && this.attempt < ATTEMPTS_MAX;
        if (may) { return this.retry(words, detail); }
        this.end(this.whole(words), detail, !isFinal(event.code, this.facts.kind));
    }

    /** What ended the last attempt, after what ended the console: the first is no less true for the second. */
    whole(words) {
        const before = this.lost_by;
        return before === undefined || before === words ? words : `${before} ${words}`;
    }

    /** Tries again in a while, for as long as the gate waits, and lets the person do it at once. */
    retry(words, detail) {
        const wait = WAITS[Math.min(this.attempt, WAITS.length - 1)];
        this.lost_at ??= Date.now();
        this.lost_by ??= words;
        const from = (this.is_from_first ? this.first_at : undefined) ?? this.lost_at;
        const left = from + this.patience - Date.now();
        if (left < wait) {
            const more = this.is_from_first && this.first_at !== undefined
                ? ' The ticket opens nothing any more. Ask for a new one.'
                : '';
            return this.end(this.whole(words) + more, detail, true);
        }
        this.attempt += 1;
        this.show('connecting', `${words} Connecting again…`,
            `Attempt ${this.attempt}. It is kept for you for ${Math.round(left / 1000)} s more.`);
        byId('again').textContent = 'Connect now';
        byId('again').hidden = false;
        this.timer = setTimeout(() => this.begin(), wait);
    }

    /** `may_again` is whether the button makes sense; the gate says so again if it does not. */
    end(words, detail, may_again) {
        this.show('closed', words, detail);
        byId('again').textContent = 'Connect again';
        byId('again').hidden = !may_again;
        if (may_again) { byId('again').focus(); }
    }

    show(state, words, detail = '') {
        document.body.dataset.state = state;
        byId('state').textContent = { connecting: 'Connecting', connected: 'Connected', closed: 'Closed' }[state];
        byId('notice').hidden = state === 'connected';
        byId('spinner').hidden = state !== 'connecting';
        byId('words').textContent = words;
        byId('headline').hidden = state !== 'closed';
        byId('detail').textContent = detail;
        byId('detail').hidden = detail === '';
        byId('again').hidden = true;
        byId('leave').disabled = state === 'closed';
        for (const button of document.querySelectorAll('[data-needs="connected"]')) {
            button.disabled = state !== 'connected';
        }
        this.onState(state);
    }
}

/** A button that switches something; returns what sets it. */
export function toggle(id, is_on, change) {
    const button = byId(id);
    const set = (value) => {
        button.setAttribute('aria-pressed', String(value));
        change(value);
    };
    button.addEventListener('click', () => set(button.getAttribute('aria-pressed') !== 'true'));
    set(is_on);
    return set;
}

/** The button that fills the screen. */
export function fullscreen(id, element) {
    const button = byId(id);
    button.hidden = !document.fullscreenEnabled;
    button.addEventListener('click', () => {
        const done = document.fullscreenElement ? document.exitFullscreen() : element.requestFullscreen();
        done.catch(() => {});
    });
    document.addEventListener('fullscreenchange', () => {
        button.setAttribute('aria-pressed', String(document.fullscreenElement !== null));
    });
}

/** A button that unfolds a panel. */
export function unfold(button_id, panel_id, focus_id) {
    const [button, panel] = [byId(button_id), byId(panel_id)];
    const set = (is_open) => {
        panel.hidden = !is_open;
        button.setAttribute('aria-expanded', String(is_open));
        if (is_open) { byId(focus_id).focus(); }
    };
    button.addEventListener('click', () => set(panel.hidden));
    panel.addEventListener('keydown', (event) => {
        if (event.key === 'Escape') { set(false); button.focus(); }
    });
    return set;
}
