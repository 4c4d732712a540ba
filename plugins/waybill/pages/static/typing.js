// Says while somebody types whether a value can be read. The page works without it: the server checks what is sent.
(() => {
  const PAUSE = 300; // milliseconds without a key before the server is asked

  const form = document.querySelector("form[data-check]");
  const inputs = [...(form?.querySelectorAll("[data-field], [data-field-of]") ?? [])];
  const country = form?.querySelector('[data-field="country"]');
  inputs.forEach((input) => {
    const said = document.getElementById(input.getAttribute("aria-describedby"));
    const chosen = form.elements[input.dataset.fieldOf]; // where the field is chosen in the form itself
    let waits;
    let asked;
    const tell = (words, fits) => {
      said.textContent = fits === undefined ? words : `${fits ? "✓" : "✗"} ${words}`;
      said.classList.toggle("good", fits === true);
      said.classList.toggle("bad", fits === false);
      if (fits === undefined) input.removeAttribute("aria-invalid");
      else input.setAttribute("aria-invalid", String(!fits));
    };
    const ask = async () => {
      asked?.abort();
      asked = new AbortController();
      const field = input.dataset.field ?? chosen.value;
      if (!field) return tell("");
      const body = new FormData();
      body.set("token", form.elements.token.value);
      body.set("field", field);
      body.set("value", input.value);
      if (country) body.set("country", country.value);
      try {
        const answer = await fetch(form.dataset.check, { method: "POST", body, signal: asked.signal });
        if (!answer.ok) throw new Error(answer.statusText);
        const verdict = await answer.json();
        tell(verdict.message, verdict.fits);
      } catch (error) {
        if (error.name !== "AbortError") tell("It will be checked when you release.");
      }
    };
    const soon = () => {
      clearTimeout(waits);
      waits = setTimeout(ask, PAUSE);
    };
    input.addEventListener("input", soon);
    chosen?.addEventListener("change", soon);
    if (input.dataset.field === "phone") country?.addEventListener("input", soon); // it is read by the country
  });
})();
