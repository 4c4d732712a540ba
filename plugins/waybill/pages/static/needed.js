// Asks for a field that one of a form's actions needs, before the form is sent. The server asks for it as well.
(() => {
  document.querySelectorAll("[data-needed-to]").forEach((input) => {
    const tell = () => { input.required = input.form.elements.action.value === input.dataset.neededTo; };
    input.form.addEventListener("change", tell);
    tell();
  });
})();
