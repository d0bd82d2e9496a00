// Who can appear: each a description that `face.js` draws. The avatar's ID decides.

export const CHARACTERS = Object.freeze([
  {
    name: "Ada", seed: 11, hair: "bob", beard: false, glasses: null, earrings: "#e8c27a", clothes: "turtleneck",
    skin: "#f0c3a2", shade: "#d99c78", blush: "#e8836d", light: "#ffe0c6",
    lip: "#c9626a", lipDark: "#9d4049", lipLight: "#ee9a9c", iris: "#4f7a63", brow: "#5b2b1c",
    hairDark: "#6b2c18", hairBase: "#9c4524", hairLight: "#cf7440",
    cloth: "#2f5d62", clothDark: "#234549", clothLight: "#437b7f", back: ["#f6dcc5", "#e6a98a"],
  },
  {
    name: "Alan", seed: 29, hair: "quiff", beard: true, glasses: "#2b2f3a", earrings: null, clothes: "shirt",
    skin: "#e9b893", shade: "#c98e67", blush: "#d97a5f", light: "#fcd9ba",
    lip: "#b9695f", lipDark: "#8d463f", lipLight: "#d99389", iris: "#3e5f86", brow: "#2c211c",
    hairDark: "#221915", hairBase: "#3a2c25", hairLight: "#66503f",
    cloth: "#dfe6ee", clothDark: "#b3bfce", clothLight: "#f7fafc", back: ["#cfe0ec", "#8fb0c9"],
  },
  {
    name: "Amara", seed: 43, hair: "curls", beard: false, glasses: null, earrings: "#f1c453", clothes: "blouse",
    skin: "#8d5a3c", shade: "#6a3f28", blush: "#a8523b", light: "#b57a55",
    lip: "#9c4648", lipDark: "#6b2a2f", lipLight: "#c9767a", iris: "#3b2416", brow: "#1c110d",
    hairDark: "#17100e", hairBase: "#2b1d18", hairLight: "#4d352a",
    cloth: "#e0a526", clothDark: "#b87f14", clothLight: "#f2c250", back: ["#dcd3f0", "#9d8cc9"],
  },
  {
    name: "Mei", seed: 61, hair: "long", beard: false, glasses: null, earrings: null, clothes: "blazer",
    skin: "#f3cfb1", shade: "#d9a883", blush: "#ea9180", light: "#ffe9d3",
    lip: "#c4535f", lipDark: "#933844", lipLight: "#ec8d95", iris: "#4a3326", brow: "#211a1d",
    hairDark: "#14131a", hairBase: "#24222d", hairLight: "#4b4860",
    cloth: "#39406b", clothDark: "#272c4e", clothLight: "#525b90", back: ["#d3ebdf", "#86bfa5"],
  },
  {
    name: "Ruth", seed: 83, hair: "crop", beard: false, glasses: "#8b3f4d", earrings: "#d8dde4", clothes: "turtleneck",
    skin: "#ecc4ab", shade: "#cc9a80", blush: "#de8675", light: "#fde0cd",
    lip: "#b85b63", lipDark: "#8c3f48", lipLight: "#dd8f92", iris: "#4c7590", brow: "#8d8a8c",
    hairDark: "#9a9aa3", hairBase: "#c4c5cc", hairLight: "#ececf0",
    cloth: "#7b3550", clothDark: "#5c243a", clothLight: "#9c4f6c", back: ["#f3e3c3", "#d8b26e"],
  },
].map(Object.freeze));

/** The character of an avatar: the one that its ID names, or else always the same one for the same ID. */
export function characterOf(avatar) {
  const words = avatar.toLowerCase().split(/[^a-z]+/);
  const named = CHARACTERS.find((character) => words.includes(character.name.toLowerCase()));
  if (named !== undefined) return named;
  let hash = 2166136261;
  for (const char of avatar) hash = Math.imul(hash ^ char.codePointAt(0), 16777619);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return CHARACTERS[((hash ^ (hash >>> 13)) >>> 0) % CHARACTERS.length];
}
