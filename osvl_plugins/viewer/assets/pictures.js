/** Pictures: the thumbnail, or an empty frame of its shape where none was kept, with the rectangles that were cut. */

const FRAME = 384;

/** `boxes`: those to draw; `small` for a picture inside a turn. */
function drawPicture(picture, boxes, small) {
  const side = small ? FRAME / 2 : FRAME;
  const scale = Math.min(1, side / Math.max(picture.width, picture.height, 1));
  const frame = el("div", { class: picture.thumbnail ? "frame" : "frame empty" });
  frame.style.width = `${Math.max(48, Math.round(picture.width * scale))}px`;
  frame.style.aspectRatio = `${picture.width} / ${picture.height}`;
  if (picture.thumbnail) {
    const data = document.getElementById(`picture-${picture.thumbnail}`).textContent;
    const image = el("img", { alt: `${picture.id}, ${originOf(picture)}` });
    image.src = `data:image/webp;base64,${data}`;
    frame.append(image);
  } else {
    frame.append(el("span", { class: "missing" }, picture.missing));
  }
  for (const box of boxes) frame.append(drawBox(picture, box));
  return el(
    "figure",
    { class: "picture" },
    frame,
    el(
      "figcaption",
      null,
      el("b", null, picture.id),
      ` ${picture.width}×${picture.height}`,
      el("span", { class: "muted" }, ` ${originOf(picture)}`),
    ),
  );
}

function originOf(picture) {
  if (picture.tool === null) return "of the question";
  return picture.source === null ? `by ${picture.tool}` : `${picture.tool} of ${picture.source}`;
}

/** A rectangle in shares of its picture; one that was refused is dashed and cut off where it leaves the picture. */
function drawBox(picture, box) {
  const name = box.made ?? `turn ${box.turn}`;
  const node = el(
    "div",
    {
      class: box.made === null ? "box refused" : "box",
      title: `${box.x}, ${box.y}, ${box.width}×${box.height} in turn ${box.turn}${box.made === null ? ", refused" : ""}`,
    },
    el("span", { class: "box-name" }, name),
  );
  node.style.left = `${(100 * box.x) / picture.width}%`;
  node.style.top = `${(100 * box.y) / picture.height}%`;
  node.style.width = `${(100 * box.width) / picture.width}%`;
  node.style.height = `${(100 * box.height) / picture.height}%`;
  return node;
}
