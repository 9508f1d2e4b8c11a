// Brings the libraries of the pages here, from the lock: `node vendor.mjs`, or `node vendor.mjs --check` to compare.
//
// npm verifies each package against the digest in package-lock.json. The files are copied as they are, and committed,
// so that building the gateway needs neither npm nor a network. It also writes the list of what the gateway serves.
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const list = join(here, '../src/console/pages/files.rs');
/** [in the package, here]; a folder is taken whole. */
const WANTED = [
    ['@novnc/novnc/core', 'novnc/core'],
    ['@novnc/novnc/vendor/pako', 'novnc/vendor/pako'],
    ['@novnc/novnc/LICENSE.txt', 'novnc/LICENSE.txt'],
    ['@novnc/novnc/AUTHORS', 'novnc/AUTHORS'],
    ['@novnc/novnc/docs/LICENSE.MPL-2.0', 'novnc/docs/LICENSE.MPL-2.0'],
    ['@novnc/novnc/docs/LICENSE.BSD-2-Clause', 'novnc/docs/LICENSE.BSD-2-Clause'],
    ['@novnc/novnc/docs/LICENSE.BSD-3-Clause', 'novnc/docs/LICENSE.BSD-3-Clause'],
    ['@xterm/xterm/lib/xterm.mjs', 'xterm/xterm.mjs'],
    ['@xterm/xterm/css/xterm.css', 'xterm/xterm.css'],
    ['@xterm/xterm/LICENSE', 'xterm/LICENSE'],
    ['@xterm/addon-fit/lib/addon-fit.mjs', 'xterm/addon-fit.mjs'],
    ['@xterm/addon-fit/LICENSE', 'xterm/LICENSE.addon-fit'],
];
/** What is served, by its extension. Licences are served too: they go where the code goes. */
const SERVED = ['common', 'novnc', 'terminal', 'vendor'];
const SORTS = { js: 'Script', mjs: 'Script', css: 'Style', html: 'Template' };
const UNSERVED = /\.md$/;

function files(folder) {
    return readdirSync(folder).sort().flatMap((name) => {
        const path = join(folder, name);
        return statSync(path).isDirectory() ? files(path) : [path];
    });
}

function copy(from, to) {
    for (const [source, target] of WANTED) {
        cpSync(join(from, source), join(to, target), { recursive: true });
    }
}

function listing() {
    const rows = SERVED.flatMap((folder) => files(join(here, folder)))
        .map((path) => relative(here, path))
        .filter((path) => !UNSERVED.test(path))
        .sort()
        .map((path) => {
            const sort = SORTS[path.split('.').at(-1)] ?? 'Text';
            return `    file!(${sort}, "${path}"),\n`;
        });
    return `//! Written by \`gateway/pages/vendor.mjs\`: what is served, by path.\n\nuse super::{File, Sort};\n\n`
        + `macro_rules! file {\n    ($sort:ident, $path:literal) => {\n        File {\n            path: $path,\n`
        + `            sort: Sort::$sort,\n`
        + `            body: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/pages/", $path)),\n        }\n    };\n}\n\n`
        + `/// In the order of their paths.\n#[rustfmt::skip]\npub(super) static FILES: &[File] = &[\n`
        + rows.join('') + '];\n';
}

function same(one, other) {
    const names = (folder) => files(folder).map((path) => relative(folder, path)).join('\n');
    return names(one) === names(other)
        && files(one).every((path) => readFileSync(path).equals(readFileSync(join(other, relative(one, path)))));
}

const work = mkdtempSync(join(tmpdir(), 'gatehouse-pages-'));
try {
    for (const name of ['package.json', 'package-lock.json']) {
        cpSync(join(here, name), join(work, name));
    }
    execFileSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: work, stdio: 'inherit' });
    const fresh = join(work, 'vendor');
    copy(join(work, 'node_modules'), fresh);
    const vendor = join(here, 'vendor');
    if (process.argv.includes('--check')) {
        if (!existsSync(vendor) || !same(fresh, vendor) || readFileSync(list, 'utf8') !== listing()) {
            throw new Error('gateway/pages/vendor is not what package-lock.json says; run node vendor.mjs');
        }
    } else {
        rmSync(vendor, { recursive: true, force: true });
        cpSync(fresh, vendor, { recursive: true });
        writeFileSync(list, listing());
    }
} finally {
    rmSync(work, { recursive: true, force: true });
}
