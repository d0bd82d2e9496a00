// Elements made in code: text is always text, never markup.

/**
 * Make an element.
 *
 * attributes: `class`, `aria-…`, `on…` listeners (functions), and properties of the element.
 * children: elements, texts; null and false are left out.
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name in element && !name.startsWith("aria")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== false && child !== undefined));
  return element;
}

/** The element of the page with an ID. */
export const byId = (id) => document.getElementById(id);

/** Put text into an element, and touch it only if it is another one. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Run `draw` once before the next picture, however often it is asked for. */
export function onceAFrame(draw) {
  let isAsked = false;
  return () => {
    if (isAsked) return;
    isAsked = true;
    requestAnimationFrame(() => {
      isAsked = false;
      draw();
    });
  };
}

/** Whether the person wants as little motion as possible; asked anew each time. */
export const prefersStillness = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
