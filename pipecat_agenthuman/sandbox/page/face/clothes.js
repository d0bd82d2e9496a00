// Shoulders and what is worn on them; drawn where the neck ends.

import { path } from "./paths.js";

const SHOULDERS = "M-330 470 C-330 350 -270 312 -180 286 C-120 268 -80 250 -66 226 L66 226 C80 250 120 268 180 286 C270 312 330 350 330 470 L330 640 L-330 640Z";

function cloth(g, character) {
  const gradient = g.createLinearGradient(-220, 240, 220, 520);
  gradient.addColorStop(0, character.clothLight);
  gradient.addColorStop(0.45, character.cloth);
  gradient.addColorStop(1, character.clothDark);
  return gradient;
}

const WORN = {
  turtleneck(g, character) {
    g.fillStyle = character.clothDark;
    g.beginPath();
    g.roundRect(-78, 214, 156, 84, 30);
    g.fill();
    g.fillStyle = cloth(g, character);
    g.beginPath();
    g.roundRect(-78, 220, 156, 60, 26);
    g.fill();
    g.strokeStyle = character.clothDark;
    g.globalAlpha = 0.5;
    g.lineWidth = 3;
    g.stroke(path("M-74 268 C-30 290 30 290 74 268"));
    g.globalAlpha = 1;
  },
  shirt(g, character) {
    g.fillStyle = character.clothLight;
    g.fill(path("M-72 218 L-98 268 L-38 344 L0 300 L-58 232Z M72 218 L98 268 L38 344 L0 300 L58 232Z"));
    g.strokeStyle = character.clothDark;
    g.lineWidth = 3;
    g.stroke(path("M-38 344 L0 300 L38 344 M0 304 L0 640"));
    g.fillStyle = character.clothDark;
    for (const y of [372, 446]) {
      g.beginPath();
      g.arc(11, y, 5, 0, 2 * Math.PI);
      g.fill();
    }
  },
  blouse(g, character) {
    g.fillStyle = character.skin;
    g.fill(path("M-70 214 L70 214 C72 268 44 312 0 326 C-44 312 -72 268 -70 214Z"));
    g.strokeStyle = character.clothDark;
    g.globalAlpha = 0.7;
    g.lineWidth = 6;
    g.stroke(path("M-86 254 C-70 300 -40 326 0 334 C40 326 70 300 86 254"));
    g.globalAlpha = 1;
  },
  blazer(g, character) {
    g.fillStyle = "#f4f1ea";
    g.fill(path("M-72 222 L72 222 L64 640 L-64 640Z"));
    g.fillStyle = character.skin;
    g.fill(path("M-64 214 L64 214 C62 258 36 288 0 300 C-36 288 -62 258 -64 214Z"));
    g.fillStyle = cloth(g, character);
    g.fill(path("M-84 236 L-150 276 L-128 372 L-18 560 L-18 640 L-330 640 L-330 470Z M84 236 L150 276 L128 372 L18 560 L18 640 L330 640 L330 470Z"));
    g.fillStyle = character.clothDark;
    g.fill(path("M-84 234 L-128 268 L-150 352 L-112 362 L-124 388 L-18 560 C-34 440 -58 320 -84 234Z M84 234 L128 268 L150 352 L112 362 L124 388 L18 560 C34 440 58 320 84 234Z"));
  },
};

/** Draw shoulders and clothes. */
export function drawBody(g, character) {
  g.fillStyle = cloth(g, character);
  g.fill(path(SHOULDERS));
  WORN[character.clothes](g, character);
}
