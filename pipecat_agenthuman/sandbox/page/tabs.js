// Tabs as the ARIA practices describe them: arrow keys move, one panel is to be seen.

/** Wire up a tab list whose tabs name their panels with `aria-controls`; `onOpen` is told the ID of one that opens. */
export function wireTabs(list, onOpen = () => {}) {
  const tabs = [...list.querySelectorAll('[role="tab"]')];
  const open = (id, focus = false) => {
    for (const tab of tabs) {
      const isOpen = tab.id === id;
      tab.setAttribute("aria-selected", String(isOpen));
      tab.tabIndex = isOpen ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = !isOpen;
      if (isOpen && focus) tab.focus();
    }
    onOpen(id);
  };
  for (const [index, tab] of tabs.entries()) {
    tab.addEventListener("click", () => open(tab.id));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step !== undefined) open(tabs[(index + step + tabs.length) % tabs.length].id, true);
    });
  }
  open(tabs[0].id);
}
