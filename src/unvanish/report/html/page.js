// A report needs no script to be read. With one: a patch can be copied, and paper gets what is folded.
for (const button of document.querySelectorAll("button[data-copies]")) {
  button.hidden = false;
  const said = button.nextElementSibling;
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copies);
    try {
      await navigator.clipboard.writeText(source.dataset.text || source.textContent);
      said.textContent = button.dataset.done;
    } catch {
      getSelection().selectAllChildren(source);
      said.textContent = button.dataset.selected;
    }
  });
}
const folded = () => document.querySelectorAll("details:not(.numbers):not([open])");
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...folded()];
  for (const details of opened) details.open = true;
});
addEventListener("afterprint", () => {
  for (const details of opened) details.open = false;
});
