// Shapes that are drawn in every frame are parsed once.

const known = new Map();

/** The Path2D of an SVG path, made at its first use. */
export function path(description) {
  let made = known.get(description);
  if (made === undefined) known.set(description, (made = new Path2D(description)));
  return made;
}

/** A colour that was opaque, with another opacity: `#rrggbb` and 0 to 1. */
export const faded = (colour, opacity) =>
  colour + Math.round(opacity * 255).toString(16).padStart(2, "0");
