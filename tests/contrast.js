/* Text that doesn't stand out from its ground by 4.5 to 1, as WCAG 2.2 asks in criterion 1.4.3, as axe-core puts it.

   axe-core's own rule asks the browser what lies at each place of each text, which takes four fifths of its time. Our
   pages lay nothing over text, so the grounds of what a text stands in are enough. Drawings are left out, as there. */
() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const drawn = (colour, under, alpha = 1) => {
    canvas.globalAlpha = 1;
    canvas.fillStyle = `rgb(${under})`; canvas.fillRect(0, 0, 1, 1);
    canvas.globalAlpha = alpha;
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const grounds = new Map();
  const ground = (element) => {  // what it is drawn on, its own background included, and how opaque it is
    if (!element) return [[255, 255, 255], 1];
    if (!grounds.has(element)) {
      const [under, opacity] = ground(element.parentElement), style = getComputedStyle(element);
      const alpha = opacity * style.opacity;
      grounds.set(element, [drawn(style.backgroundColor, under, alpha), alpha]);
    }
    return grounds.get(element);
  };
  const light = (colour) => colour.map((v) => v / 255).map((v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const texts = (element) => element.value || [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  const nodes = [];
  for (const element of document.querySelectorAll("body *")) {
    if (element.closest("svg, script, .skip, :disabled") || !element.getClientRects().length || !texts(element)) continue;
    const [under, alpha] = ground(element);
    const [a, b] = [light(drawn(getComputedStyle(element).color, under, alpha)), light(under)].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) nodes.push({ html: element.outerHTML.slice(0, 200) });
  }
  return nodes.length ? [{ id: "color-contrast", nodes }] : [];
}
