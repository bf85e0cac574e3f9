import json

import pytest


@pytest.fixture
def coco(tmp_path):
    path = tmp_path / "found.json"
    content = {
        "images": [
            {"id": 5, "file_name": "Archery/a.avi/000002.jpg"},
            {"id": 6, "video": "b.mp4", "frame": 0},
        ],
        "categories": [{"id": 1, "name": "person"}, {"id": 43, "name": "tennis racket"}],
        "annotations": [
            {"image_id": 5, "category_id": 43, "bbox": [10, 20, 5, 6], "score": 0.8},
            {"image_id": 5, "category_id": 1, "bbox": [0, 0, 9, 9], "score": 0.4},
            {"image_id": 6, "category_id": 1, "bbox": [1, 2, 30, 40]},
        ],
    }
    path.write_text(json.dumps(content))
    return path, content
