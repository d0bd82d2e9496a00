// A character on canvas: a portrait in flat colours with soft light, in units of its own.

import { drawBody } from "./clothes.js";
import { drawHairBefore, drawHairBehind } from "./hair.js";
import { drawMouth, jawDrop } from "./mouth-shape.js";
import { faded, path } from "./paths.js";

const TURN = 2 * Math.PI;
const PORTRAIT_HEIGHT = 762; // units from above the hair to the picture's lower edge
const PORTRAIT_WIDTH = 560; // the least that has to fit: head, hair, and a bit of shoulder
const EYE = { x: 57, y: -8, half: 29 };

/**
 * Draw the background of a portrait.
 *
 * g: a 2D context of `width` times `height`, in whatever unit its transform says.
 */
export function drawBackdrop(g, character, width, height) {
  const wall = g.createLinearGradient(0, 0, width * 0.4, height);
  wall.addColorStop(0, character.back[0]);
  wall.addColorStop(1, character.back[1]);
  g.fillStyle = wall;
  g.fillRect(0, 0, width, height);
  // A lamp's light behind the head, and a large calm shape that gives the room some depth.
  const reach = Math.hypot(width, height);
  g.fillStyle = character.back[1];
  g.globalAlpha = 0.35;
  g.beginPath();
  g.ellipse(width * 0.86, height * 0.98, reach * 0.36, reach * 0.42, -0.4, 0, TURN);
  g.fill();
  g.globalAlpha = 1;
  const lamp = g.createRadialGradient(width * 0.42, height * 0.34, 0, width * 0.42, height * 0.34, reach * 0.42);
  lamp.addColorStop(0, "rgba(255,255,255,0.62)");
  lamp.addColorStop(1, "rgba(255,255,255,0)");
  g.fillStyle = lamp;
  g.fillRect(0, 0, width, height);
}

/**
 * Draw a character over what is there.
 *
 * pose: see `pose.js`. mouth: see `mouth-shape.js`. smile: 0 to 1.
 */
export function drawCharacter(g, character, pose, mouth, smile, width, height) {
  const scale = Math.min(height / PORTRAIT_HEIGHT, width / PORTRAIT_WIDTH);
  g.save();
  g.translate(width / 2, height - 436 * scale);
  g.scale(scale, scale);
  const jaw = jawDrop(mouth);
  const head = { x: pose.yaw * 7, y: pose.pitch * 4 - pose.breath * 2.5, tilt: pose.tilt };

  inHead(g, head, () => drawHairBehind(g, character));
  drawNeck(g, character, head);
  g.save();
  g.translate(head.x * 0.15, -pose.breath * 4);
  g.scale(1 + pose.breath * 0.004, 1);
  drawBody(g, character);
  g.restore();
  inHead(g, head, () => {
    drawEars(g, character, pose);
    drawSkull(g, character, jaw);
    g.save();
    // What stands out of the face moves more than the face: it looks turned, not shifted.
    g.translate(pose.yaw * 6, pose.pitch * 5);
    drawNose(g, character, pose);
    for (const side of [-1, 1]) drawEye(g, character, pose, side);
    g.translate(pose.yaw * 1.5, 118 + jaw * 0.12);
    drawMouth(g, mouth, character, smile);
    g.restore();
    drawHairBefore(g, character);
    if (character.glasses) drawGlasses(g, character, pose);
  });
  g.restore();
}

function inHead(g, head, draw) {
  g.save();
  g.translate(head.x, head.y);
  g.translate(0, 230);
  g.rotate(head.tilt);
  g.translate(0, -230);
  draw();
  g.restore();
}

function drawNeck(g, character, head) {
  g.save();
  g.translate(head.x * 0.4, head.y * 0.3);
  const neck = g.createLinearGradient(0, 150, 0, 290);
  neck.addColorStop(0, character.shade);
  neck.addColorStop(1, character.skin);
  g.fillStyle = neck;
  g.fill(path("M-66 110 C-60 190 -62 226 -90 262 L0 330 L90 262 C62 226 60 190 66 110Z"));
  g.restore();
}

function drawEars(g, character, pose) {
  for (const side of [-1, 1]) {
    g.save();
    g.translate(side * 143 - pose.yaw * 4, 14);
    g.scale(side, 1);
    g.fillStyle = character.skin;
    g.fill(path("M-10 -34 C16 -48 32 -30 26 0 C22 26 8 42 -8 36Z"));
    g.strokeStyle = character.shade;
    g.lineWidth = 5;
    g.lineCap = "round";
    g.stroke(path("M2 -22 C16 -28 18 -8 8 6"));
    if (character.earrings) {
      g.fillStyle = character.earrings;
      g.beginPath();
      g.arc(4, 46, 8, 0, TURN);
      g.fill();
    }
    g.restore();
  }
}

function headPath(jaw) {
  const chin = 204 + jaw;
  const cheek = 138 + jaw * 0.5;
  const path = new Path2D();
  path.moveTo(-144, -50);
  path.bezierCurveTo(-150, 24, -138, 84, -108, cheek);
  path.bezierCurveTo(-82, cheek + 44, -40, chin, 0, chin);
  path.bezierCurveTo(40, chin, 82, cheek + 44, 108, cheek);
  path.bezierCurveTo(138, 84, 150, 24, 144, -50);
  path.bezierCurveTo(144, -156, 84, -214, 0, -214);
  path.bezierCurveTo(-84, -214, -144, -156, -144, -50);
  path.closePath();
  return path;
}

function drawSkull(g, character, jaw) {
  const head = headPath(jaw);
  const skin = g.createRadialGradient(-44, -60, 20, 0, 10, 270);
  skin.addColorStop(0, character.light);
  skin.addColorStop(0.5, character.skin);
  skin.addColorStop(1, character.shade);
  g.fillStyle = skin;
  g.fill(head);
  g.save();
  g.clip(head);
  if (character.beard) drawBeard(g, character, jaw);
  for (const side of [-1, 1]) {
    const blush = g.createRadialGradient(side * 84, 58, 2, side * 84, 58, 52);
    blush.addColorStop(0, character.blush);
    blush.addColorStop(1, faded(character.blush, 0));
    g.globalAlpha = 0.34;
    g.fillStyle = blush;
    g.fillRect(side * 84 - 60, 0, 120, 120);
  }
  // The hair's shadow on the forehead.
  g.globalAlpha = 0.28;
  const shadow = g.createLinearGradient(0, -150, 0, -50);
  shadow.addColorStop(0, character.shade);
  shadow.addColorStop(1, faded(character.shade, 0));
  g.fillStyle = shadow;
  g.fillRect(-150, -220, 300, 180);
  g.restore();
}

function drawBeard(g, character, jaw) {
  g.save();
  g.globalAlpha = 0.8;
  g.fillStyle = character.hairBase;
  const chin = 230 + jaw;
  g.beginPath();
  g.moveTo(-152, 10);
  g.bezierCurveTo(-130, 60, -116, 92, -76, 86);
  g.bezierCurveTo(-50, 72, -24, 76, 0, 82);
  g.bezierCurveTo(24, 76, 50, 72, 76, 86);
  g.bezierCurveTo(116, 92, 130, 60, 152, 10);
  g.lineTo(170, chin);
  g.lineTo(-170, chin);
  g.closePath();
  // Skin around the mouth, so that the lips stay legible.
  g.ellipse(0, 122 + jaw * 0.4, 56, 31 + jaw * 0.75, 0, 0, TURN, true);
  g.fill();
  g.restore();
}

function drawNose(g, character, pose) {
  const lean = pose.yaw * 2;
  g.lineCap = "round";
  g.strokeStyle = character.shade;
  g.globalAlpha = 0.75;
  g.lineWidth = 6;
  g.beginPath();
  g.moveTo(-19 + lean, 54);
  g.bezierCurveTo(-12 + lean, 66, 12 + lean, 66, 19 + lean, 54);
  g.stroke();
  g.globalAlpha = 0.34;
  g.fillStyle = character.shade;
  g.fill(path("M8 -26 C14 8 26 36 24 54 C14 64 4 62 2 56 C10 36 6 6 8 -26Z"));
  g.globalAlpha = 0.5;
  g.fillStyle = character.light;
  g.beginPath();
  g.ellipse(-4 + lean, 40, 8, 11, 0, 0, TURN);
  g.fill();
  g.globalAlpha = 1;
}

function drawEye(g, character, pose, side) {
  const { half } = EYE;
  const closed = pose.lids;
  const upper = -17 * (1 - closed) + 7 * closed;
  const lower = 12 - 2 * closed;
  g.save();
  g.translate(side * EYE.x, EYE.y);
  g.scale(side, 1);
  const opening = new Path2D();
  opening.moveTo(-half, 3);
  opening.bezierCurveTo(-half * 0.5, upper * 1.12, half * 0.42, upper * 1.3, half, -3);
  opening.bezierCurveTo(half * 0.55, lower, -half * 0.45, lower * 1.15, -half, 3);
  opening.closePath();
  if (closed < 0.95) {
    g.save();
    g.clip(opening);
    g.fillStyle = "#fbf8f4";
    g.fillRect(-half, -24, 2 * half, 48);
    const x = side * (pose.gaze.x * 9 + pose.yaw * 2);
    const y = -2 + pose.gaze.y * 7 + pose.pitch;
    g.fillStyle = character.iris;
    g.beginPath();
    g.arc(x, y, 14.5, 0, TURN);
    g.fill();
    g.globalAlpha = 0.35;
    g.lineWidth = 3;
    g.strokeStyle = "#000";
    g.stroke();
    g.globalAlpha = 1;
    g.fillStyle = "#15100f";
    g.beginPath();
    g.arc(x, y, 7, 0, TURN);
    g.fill();
    g.fillStyle = "rgba(255,255,255,0.92)";
    g.beginPath();
    g.arc(x - side * 5, y - 5, 4, 0, TURN);
    g.fill();
    // The upper lid's shadow on the eye.
    g.fillStyle = "rgba(40,20,20,0.16)";
    g.fillRect(-half, upper - 8, 2 * half, 14);
    g.restore();
  }
  g.lineCap = "round";
  g.strokeStyle = character.hair === "crop" ? "#5d4a4a" : character.brow;
  g.lineWidth = 5.5;
  g.beginPath();
  g.moveTo(-half, 3);
  g.bezierCurveTo(-half * 0.5, upper * 1.12, half * 0.42, upper * 1.3, half + 3, -4);
  g.stroke();
  g.globalAlpha = 0.35;
  g.strokeStyle = character.shade;
  g.lineWidth = 3.5;
  g.beginPath();
  g.moveTo(-half * 0.75, upper * 1.05 - 9);
  g.quadraticCurveTo(half * 0.1, upper * 1.3 - 12, half * 0.95, upper * 0.6 - 6);
  g.stroke();
  g.globalAlpha = 1;
  drawBrow(g, character, pose);
  g.restore();
}

function drawBrow(g, character, pose) {
  const lift = -44 - pose.brows * 11 + pose.lids * 2;
  g.fillStyle = character.brow;
  g.beginPath();
  g.moveTo(-34, lift + 5);
  g.bezierCurveTo(-16, lift - 9, 18, lift - 13, 40, lift + 4);
  g.bezierCurveTo(16, lift - 3, -14, lift + 1, -33, lift + 14);
  g.closePath();
  g.fill();
}

function drawGlasses(g, character, pose) {
  g.save();
  g.translate(pose.yaw * 5, EYE.y + 2 + pose.pitch * 4);
  g.strokeStyle = character.glasses;
  g.lineWidth = 6;
  for (const side of [-1, 1]) {
    const lens = new Path2D();
    lens.roundRect(side * EYE.x - 44, -33, 88, 72, 32);
    g.fillStyle = "rgba(255,255,255,0.13)";
    g.fill(lens);
    g.stroke(lens);
    g.beginPath();
    g.moveTo(side * (EYE.x + 44), -6);
    g.lineTo(side * 142 - pose.yaw * 5, -2);
    g.stroke();
  }
  g.beginPath();
  g.moveTo(-14, -2);
  g.quadraticCurveTo(0, -10, 14, -2);
  g.stroke();
  g.restore();
}
