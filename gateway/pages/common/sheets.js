// SPDX-License-Identifier: Apache-2.0
// xterm.js puts what it computes into <style> elements, which a policy without 'unsafe-inline' leaves without effect.
// Sheets that a script constructs are under that policy as the script is: each such element gets one behind it.

const create = Document.prototype.createElement;

function styleWithSheet(document) {
    const element = create.call(document, 'template');
    const sheet = new CSSStyleSheet();
    document.adoptedStyleSheets.push(sheet);
    Object.defineProperty(element, 'textContent', {
        get: () => '',
        set: (text) => sheet.replaceSync(text),
    });
    element.remove = () => {
        document.adoptedStyleSheets = document.adoptedStyleSheets.filter((other) => other !== sheet);
        Element.prototype.remove.call(element);
    };
    return element;
}

document.createElement = (name, options) => name === 'style' ? styleWithSheet(document) : create.call(document, name, options);
