// Sound on or off. Browsers give sound only after a click or a key: the first one turns it on.

import { byId, setText } from "./dom.js";

/** Wire up the buttons that turn the sound on and off. */
export function wireSound(player) {
  let isWanted = true;
  const show = () => {
    byId("sound").setAttribute("aria-pressed", String(player.isOn));
    setText(byId("sound-label"), player.isOn ? "Sound on" : "Sound off");
    byId("unmute").hidden = player.isOn || !isWanted;
  };
  const turn = async (isOn) => {
    isWanted = isOn;
    if (isOn) await player.turnOn();
    else await player.turnOff();
    show();
  };
  byId("sound").onclick = () => turn(!player.isOn);
  byId("unmute").onclick = () => turn(true);
  const first = (event) => {
    if (event.target.closest?.("#sound, #unmute")) return;
    if (isWanted && !player.isOn) turn(true);
  };
  document.addEventListener("click", first);
  document.addEventListener("keydown", (event) => {
    if (!["Escape", "Tab", "Shift"].includes(event.key)) first(event); // these do not count as a wish
  });
  // Where the browser allows it at once, for example because the person has allowed it for good.
  if (navigator.userActivation?.hasBeenActive || navigator.getAutoplayPolicy?.("audiocontext") === "allowed") turn(true);
  show();
  return show;
}
