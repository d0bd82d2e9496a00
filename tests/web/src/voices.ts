// The example's, under the name that a page has it by.
export { playVoices } from "../../../examples/web/src/voices.ts";
