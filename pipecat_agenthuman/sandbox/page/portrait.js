// A canvas with a character on it, at the sharpness of the screen.

import { drawBackdrop, drawCharacter } from "./face/face.js";

const SHARPEST = 2; // more pixels cost time, and nobody sees them

/** Draws characters on one canvas. */
export class Portrait {
  #canvas;
  #context;
  #backdrop = null;
  #backdropOf = null;

  /** canvas: keeps its CSS size; its pixels follow. */
  constructor(canvas) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d", { alpha: false });
    new ResizeObserver(() => this.#fit()).observe(canvas);
    this.#fit();
  }

  #fit() {
    const ratio = Math.min(devicePixelRatio || 1, SHARPEST);
    const width = Math.max(1, Math.round(this.#canvas.clientWidth * ratio));
    const height = Math.max(1, Math.round(this.#canvas.clientHeight * ratio));
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      Object.assign(this.#canvas, { width, height });
      this.#backdropOf = null;
    }
  }

  /** Draw; `presence` is how much of the character is there, 0 to 1. */
  draw(character, pose, mouth, smile, presence) {
    const { width, height } = this.#canvas;
    const g = this.#context;
    g.drawImage(this.#wall(character, width, height), 0, 0);
    if (presence <= 0) return;
    g.save();
    g.globalAlpha = presence;
    if (presence < 1) {
      // Parts that lie over each other would shine through each other: fade the whole.
      const layer = new OffscreenCanvas(width, height);
      drawCharacter(layer.getContext("2d"), character, pose, mouth, smile, width, height);
      g.drawImage(layer, 0, (1 - presence) * height * 0.04);
    } else {
      drawCharacter(g, character, pose, mouth, smile, width, height);
    }
    g.restore();
  }

  /** The background does not move, and is drawn once. */
  #wall(character, width, height) {
    if (this.#backdropOf !== character) {
      this.#backdrop = new OffscreenCanvas(width, height);
      drawBackdrop(this.#backdrop.getContext("2d"), character, width, height);
      this.#backdropOf = character;
    }
    return this.#backdrop;
  }
}
