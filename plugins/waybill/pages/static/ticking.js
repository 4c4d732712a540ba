// Lets all boxes of a form be ticked at once, in the place of its table's first heading, and says how many are.
// The forms work without it: each box is ticked by itself.
(() => {
  document.querySelectorAll("form[data-many]").forEach((form) => {
    const place = form.querySelector("thead th");
    const boxes = [...form.querySelectorAll(`tbody input[name="${form.dataset.many}"]`)];
    const said = form.querySelector("[data-ticked]");
    if (!place || !boxes.length) return;
    const all = document.createElement("input");
    all.type = "checkbox";
    all.setAttribute("aria-label", "All of this page");
    const tell = () => {
      const ticked = boxes.filter((box) => box.checked).length;
      all.checked = ticked === boxes.length;
      all.indeterminate = ticked > 0 && !all.checked;
      said.textContent = ticked ? `${ticked} of ${boxes.length} on this page ticked.` : "";
    };
    all.addEventListener("change", () => {
      boxes.forEach((box) => { box.checked = all.checked; });
      tell();
    });
    boxes.forEach((box) => box.addEventListener("change", tell));
    place.replaceChildren(all);
    tell();
  });
})();
