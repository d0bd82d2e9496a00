// The colours of the style sheet, for what is drawn on canvas.

const NAMES = [
  "surface", "sunken", "ink", "dim", "faint", "line", "accent", "speech", "speech-soft", "confirm", "cut", "bad", "calls",
];

let colours = null;

function forget() {
  colours = null;
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", forget);
new MutationObserver(forget).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });

/** The colours as they are now, by their name in the style sheet without its dashes in front. */
export function palette() {
  if (colours === null) {
    // Only a used value is resolved: a variable's own value would still be light-dark(…).
    const probe = document.createElement("i");
    probe.hidden = true;
    document.body.append(probe);
    const read = (name) => {
      probe.style.color = `var(--${name})`;
      return getComputedStyle(probe).color;
    };
    colours = Object.fromEntries(NAMES.map((name) => [name, read(name)]));
    probe.remove();
  }
  return colours;
}
