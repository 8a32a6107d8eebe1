// Keys, and words for what went wrong on the way. Without it every link and form still works.
(() => {
  "use strict";
  const byId = (id) => document.getElementById(id);
  const button = byId("keys-button");
  const keys = byId("keys");
  const on = byId("keys-on");
  const KEPT = "grader-review-keys";

  const remembered = () => {
    try { return localStorage.getItem(KEPT) !== "off"; } catch { return true; }
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    keys.hidden = !keys.hidden;
    button.setAttribute("aria-expanded", String(!keys.hidden));
  });
  on.checked = remembered();
  on.addEventListener("change", () => {
    try { localStorage.setItem(KEPT, on.checked ? "on" : "off"); } catch { /* it holds for this page */ }
  });

  const follow = (id) => byId(id)?.click();
  const send = (id) => byId(id)?.requestSubmit();
  const enter = (id) => { const field = byId(id); field?.focus(); field?.select?.(); };
  const ACTIONS = {
    j: () => follow("next"),
    k: () => follow("previous"),
    d: () => send("done"),
    u: () => send("undo"),
    m: () => enter("points"),
    c: () => enter("text"),
    q: () => { location.href = "/queue"; },
  };
  let leaving = false;
  document.addEventListener("keydown", (event) => {
    const field = event.target.closest?.("input, select, textarea");
    if (field && event.key === "Escape") { field.blur(); byId("main").focus({ preventScroll: true }); return; }
    if (field && event.key === "Enter" && event.ctrlKey) { field.form?.requestSubmit(); return; }
    if (field && field.type !== "checkbox") return;
    if (!on.checked || event.ctrlKey || event.altKey || event.metaKey || event.repeat || leaving) return;
    const action = ACTIONS[event.key];
    if (action) { event.preventDefault(); action(); }
  });
  // A form is sent once: a second `d` on the way would settle the next question unseen.
  document.addEventListener("submit", (event) => {
    if (event.target.hasAttribute("hx-post") || event.target.hasAttribute("hx-get")) return;
    if (leaving) event.preventDefault();
    leaving = true;
  });
  window.addEventListener("pageshow", () => { leaving = false; });

  const fail = (text) => {
    const box = byId("failed");
    box.textContent = text;
    byId("said").textContent = "";
    box.focus();
  };
  const unreachable = "Nothing was saved: the server can’t be reached. Start `grader review` again, keep this page open, and save once more.";
  const saves = (event) => event.detail.requestConfig.verb === "post";
  document.addEventListener("htmx:sendError", (event) => { if (saves(event)) fail(unreachable); });
  document.addEventListener("htmx:responseError", (event) => {
    const { xhr } = event.detail;
    const isSentence = xhr.getResponseHeader("Content-Type")?.startsWith("text/plain");
    const why = isSentence ? xhr.responseText : "The server answered " + xhr.status + ": load the page again in another tab.";
    if (saves(event)) fail("Nothing was saved. " + why);
  });
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.target.id !== "main") return;
    const words = [byId("failed"), byId("said")].find((each) => each.textContent.trim());
    words?.focus();
  });

  // A line of the student's is pointed at by a click; its numbers can be typed, too.
  document.addEventListener("click", (event) => {
    const line = event.target.closest?.(".cell .ln");
    const cell = line?.closest(".cell").dataset.cell;
    if (!cell || !byId("cell") || !getSelection().isCollapsed) return;
    byId("cell").value = cell;
    byId("line").value = line.dataset.n;
    enter("text");
  });
})();
