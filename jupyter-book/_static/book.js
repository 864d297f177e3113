document.addEventListener("DOMContentLoaded", () => {
  // A click on a figure opens it in full size. On a phone, book.css lets a wide one scroll instead of shrinking it.
  for (const image of document.querySelectorAll(".cell_output img[src], .bd-article figure img[src]")) {
    if (image.closest("a, figure:has(input)")) continue; // a slider hides images: links around them would be empty
    const link = document.createElement("a");
    link.href = image.src;
    image.replaceWith(link);
    link.append(image);
    const classify = () => link.className = image.naturalWidth > 800 ? "figure-link wide" : "figure-link";
    image.complete ? classify() : image.addEventListener("load", classify);
  }
  // The copy that is read without a server does not hold itself.
  if (location.protocol === "file:") for (const link of document.querySelectorAll(".offline-copy")) link.remove();
  // Sphinx calls the bibliography a list, but not its entries items: screen readers would find it empty.
  for (const entry of document.querySelectorAll(".citation-list > .citation")) entry.setAttribute("role", "listitem");
});
