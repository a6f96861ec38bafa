"""How many synthetic faces one core draws in a second: `python benchmarks/synthetic.py`."""

import time

import cv2

from facekd.data_tools.synthetic import SyntheticFaces

IMAGES = 600


def main() -> None:
    cv2.setNumThreads(1)
    for size in (64, 112):
        faces = SyntheticFaces(IMAGES, 1, size=size)
        faces.image(0)
        wall, cpu = time.perf_counter(), time.process_time()
        for i in range(IMAGES):
            faces.image(i)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(
            f"synthetic faces, {size} px, one thread: {IMAGES / wall:.0f} images/s "
            f"({IMAGES / cpu:.0f} a second of processor time)"
        )


if __name__ == "__main__":
    main()
