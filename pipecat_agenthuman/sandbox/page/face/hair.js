// Hair on canvas: what lies behind the head and what lies before it, for each style.

import { path } from "./paths.js";

function strands(g, character, lines) {
  g.strokeStyle = character.hairLight;
  g.globalAlpha = 0.5;
  g.lineWidth = 4;
  g.lineCap = "round";
  for (const line of lines) g.stroke(path(line));
  g.globalAlpha = 1;
}

function shaded(g, character, top, bottom) {
  const gradient = g.createLinearGradient(-60, top, 90, bottom);
  gradient.addColorStop(0, character.hairLight);
  gradient.addColorStop(0.3, character.hairBase);
  gradient.addColorStop(1, character.hairDark);
  return gradient;
}

function curl(g, x, y, radius) {
  g.moveTo(x + radius, y);
  g.arc(x, y, radius, 0, 2 * Math.PI);
}

const CURLS_BEHIND = [
  [-150, -120, 74], [-186, -30, 70], [-190, 62, 60], [-166, 138, 48], [-96, -206, 78], [0, -236, 84],
  [96, -206, 78], [150, -120, 74], [186, -30, 70], [190, 62, 60], [166, 138, 48],
];
const CURLS_BEFORE = [
  [-128, -122, 44], [-84, -168, 48], [-24, -190, 50], [40, -186, 50], [94, -158, 46], [130, -112, 42],
  [-150, -62, 34], [150, -56, 32],
];

const BEHIND = {
  bob(g, character) {
    g.fillStyle = shaded(g, character, -240, 220);
    g.fill(path("M-172 40 C-190 -150 -112 -246 6 -246 C128 -246 190 -150 172 40 C182 110 180 176 150 204 C110 222 -110 222 -150 204 C-182 176 -182 110 -172 40Z"));
  },
  quiff(g, character) {
    g.fillStyle = character.hairDark;
    g.fill(path("M-154 0 C-166 -140 -100 -226 0 -226 C104 -226 166 -140 154 0 C152 34 146 52 140 66 L-140 66 C-146 52 -152 34 -154 0Z"));
  },
  curls(g, character) {
    g.fillStyle = shaded(g, character, -300, 180);
    g.beginPath();
    for (const [x, y, radius] of CURLS_BEHIND) curl(g, x, y, radius);
    g.rect(-150, -200, 300, 340);
    g.fill();
    g.fillStyle = character.hairLight;
    g.globalAlpha = 0.22;
    g.beginPath();
    for (const [x, y, radius] of CURLS_BEHIND) curl(g, x - radius * 0.25, y - radius * 0.3, radius * 0.5);
    g.fill();
    g.globalAlpha = 1;
  },
  long(g, character) {
    g.fillStyle = shaded(g, character, -240, 380);
    g.fill(path("M-160 0 C-190 -160 -110 -244 0 -244 C110 -244 190 -160 160 0 C176 130 196 260 204 356 C160 386 100 380 84 350 L-84 350 C-100 380 -160 386 -204 356 C-196 260 -176 130 -160 0Z"));
  },
  crop(g, character) {
    g.fillStyle = shaded(g, character, -250, 120);
    g.fill(path("M-162 30 C-184 -150 -110 -250 4 -250 C120 -250 182 -150 162 30 C160 62 152 84 146 98 L-146 98 C-154 84 -160 62 -162 30Z"));
  },
};

const BEFORE = {
  bob(g, character) {
    g.fillStyle = shaded(g, character, -240, 180);
    // A side parting: a long sweep to one side, a short one to the other.
    g.fill(path("M-58 -232 C20 -262 150 -226 172 -60 C180 20 180 120 158 190 C140 196 128 190 122 176 C142 110 146 20 132 -40 C110 -104 40 -140 -36 -166 C-80 -150 -116 -110 -134 -44 C-148 20 -146 110 -124 176 C-130 190 -142 196 -160 188 C-182 120 -184 10 -170 -64 C-152 -160 -110 -214 -58 -232Z"));
    strands(g, character, ["M-34 -206 C50 -208 122 -160 148 -70", "M-20 -188 C50 -176 112 -140 140 -60", "M-66 -198 C-116 -164 -146 -116 -156 -40", "M160 -20 C166 50 160 120 148 172", "M-162 0 C-166 60 -160 120 -150 168"]);
  },
  quiff(g, character) {
    g.fillStyle = shaded(g, character, -280, -60);
    g.fill(path("M-150 -50 C-166 -150 -134 -214 -84 -234 C-40 -284 96 -286 132 -226 C166 -196 164 -110 150 -48 C144 -62 138 -84 130 -104 C96 -132 44 -138 -4 -146 C-52 -144 -96 -132 -126 -110 C-138 -88 -144 -66 -150 -50Z"));
    strands(g, character, ["M-96 -150 C-80 -220 0 -262 92 -236", "M-56 -156 C-40 -208 30 -238 112 -212", "M-8 -158 C10 -190 60 -206 124 -180"]);
  },
  curls(g, character) {
    g.fillStyle = shaded(g, character, -240, -40);
    g.beginPath();
    for (const [x, y, radius] of CURLS_BEFORE) curl(g, x, y, radius);
    g.fill();
    g.strokeStyle = character.hairLight;
    g.globalAlpha = 0.45;
    g.lineWidth = 4;
    for (const [x, y, radius] of CURLS_BEFORE) {
      g.beginPath();
      g.arc(x - 3, y - 3, radius * 0.52, Math.PI * 0.9, Math.PI * 1.75);
      g.stroke();
    }
    g.globalAlpha = 1;
  },
  long(g, character) {
    g.fillStyle = shaded(g, character, -240, 60);
    // A straight fringe, and a lock down each side.
    g.fill(path("M-160 20 C-178 -150 -110 -240 0 -240 C110 -240 178 -150 160 20 C158 90 166 170 172 236 C156 240 146 236 140 226 C146 120 146 20 134 -62 C96 -76 40 -82 0 -82 C-40 -82 -96 -76 -134 -62 C-146 20 -146 120 -140 226 C-146 236 -156 240 -172 236 C-166 170 -158 90 -160 20Z"));
    strands(g, character, ["M-96 -190 C-112 -150 -116 -120 -116 -84", "M-48 -210 C-60 -160 -62 -124 -62 -90", "M6 -216 C2 -170 2 -130 2 -94", "M58 -208 C64 -160 64 -126 62 -90", "M104 -184 C116 -150 118 -120 116 -84", "M-152 40 C-150 100 -154 160 -158 214", "M152 40 C150 100 154 160 158 214"]);
  },
  crop(g, character) {
    g.fillStyle = shaded(g, character, -260, 40);
    g.fill(path("M-158 34 C-184 -120 -130 -224 -40 -250 C60 -272 158 -220 166 -80 C168 -34 166 4 158 36 C148 20 142 -14 138 -50 C128 -84 112 -104 92 -120 C40 -92 -40 -82 -112 -104 C-134 -76 -142 -20 -146 20 C-150 30 -154 34 -158 34Z"));
    strands(g, character, ["M96 -136 C40 -112 -40 -104 -104 -122", "M110 -164 C50 -142 -40 -132 -112 -150", "M104 -194 C50 -176 -30 -168 -98 -182", "M82 -220 C40 -208 -20 -204 -66 -212", "M132 -140 C148 -100 152 -60 152 -20"]);
  },
};

/** Draw what of the hair is behind the head. */
export const drawHairBehind = (g, character) => BEHIND[character.hair](g, character);

/** Draw what of it is before the face. */
export const drawHairBefore = (g, character) => BEFORE[character.hair](g, character);
