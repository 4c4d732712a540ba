// Says while somebody types whether a value can be read. The page works without it: the server checks what is sent.
(() => {
  const PAUSE = 300; // milliseconds without a key before the server is asked

  const checked = document.querySelector("form[data-check]");
  checked?.querySelectorAll("[data-field]").forEach((input) => {
    const said = document.getElementById(input.getAttribute("aria-describedby"));
    let waits;
    let asked;
    const ask = async () => {
      asked?.abort();
      asked = new AbortController();
      const form = new FormData();
      form.set("token", checked.elements.token.value);
      form.set("field", input.dataset.field);
      form.set("value", input.value);
      const country = checked.querySelector('[data-field="country"]');
      if (country) form.set("country", country.value);
      try {
        const answer = await fetch(checked.dataset.check, { method: "POST", body: form, signal: asked.signal });
        if (!answer.ok) throw new Error(answer.statusText);
        const verdict = await answer.json();
        said.textContent = `${verdict.fits ? "✓" : "✗"} ${verdict.message}`;
        said.className = `fits ${verdict.fits ? "good" : "bad"}`;
        input.setAttribute("aria-invalid", String(!verdict.fits));
      } catch (error) {
        if (error.name === "AbortError") return;
        said.textContent = "It will be checked when you release the case.";
        said.className = "fits";
        input.removeAttribute("aria-invalid");
      }
    };
    input.addEventListener("input", () => {
      clearTimeout(waits);
      waits = setTimeout(ask, PAUSE);
    });
  });
})();
