"""PASCAL VOC annotation files and directories, valid and invalid."""

import os

import pytest

from object_detection_mtl.dataset_tools import voc_annotations, voc_xml
from object_detection_mtl.dataset_tools.entry_notes import EntryNotes
from tests.dataset_tools.voc_files import (
    SHARED,
    annotation,
    block_image,
    encoded,
    make_voc_directory,
    needs_shared_data,
    thing,
)


def parse(tmp_path, text, name="a.xml"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return voc_xml.parse_annotation(path)


# Annotation files ---------------------------------------------------------------------------


def test_reads_objects_in_any_element_order_with_fractions_and_flags(tmp_path):
    extra = "<difficult>1</difficult><truncated> 1 </truncated><pose>Left</pose>"
    text = annotation("dog one.jpg", thing("dog", 1.5, "2e0", 10, 20.25, extra), size=(40, 30))
    result = parse(tmp_path, text)
    assert (result.filename, result.width, result.height) == ("dog one.jpg", 40, 30)
    assert result.objects == (
        voc_xml.VocObject(
            "dog", 1.5, 2.0, 10.0, 20.25, difficult=True, truncated=True, pose="Left"
        ),
    )


def test_absent_details_have_defaults(tmp_path):
    result = parse(tmp_path, "<annotation>" + thing("cat", 0, 0, 1, 1) + "</annotation>")
    assert (result.filename, result.width, result.height) == ("", None, None)
    assert result.objects[0] == voc_xml.VocObject("cat", 0, 0, 1, 1)
    assert result.objects[0].pose == "Unspecified"
    assert not result.objects[0].difficult


def test_annotation_without_objects_and_with_size_zero(tmp_path):
    result = parse(tmp_path, annotation(size=(0, 0)))
    assert result.objects == ()
    assert result.width is None


def test_parts_of_an_object_are_not_objects(tmp_path):
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    result = parse(tmp_path, annotation(objects=thing("person", 1, 2, 3, 4, part)))
    assert [(item.name, item.xmin) for item in result.objects] == [("person", 2.0)]


def test_other_encodings_are_read(tmp_path):
    text = annotation(objects=thing("Bär", 1, 2, 3, 4))
    declared = '<?xml version="1.0" encoding="iso-8859-1"?>' + text
    assert parse(tmp_path, declared.encode("latin-1")).objects[0].name == "Bär"


@pytest.mark.parametrize(
    ("declared", "codec", "name"),
    [
        ("GB2312", "gb2312", "猫"),
        ("gb2312", "gbk", "貓"),
        ("Shift_JIS", "shift_jis", "ねこ"),
        ("Big5", "big5", "貓"),
        ("EUC-KR", "euc_kr", "고양이"),
        ("windows-1251", "cp1251", "кот"),
        ("windows-31j", "cp932", "ねこ①"),
        ("x-sjis", "cp932", "ねこ"),
        ("x-gbk", "gb18030", "猫"),
        ("GBK", "gb18030", "猫"),
        ("koi8-r", "koi8_r", "кот"),
        ("utf-16", "utf-8", "猫"),  # C# writes this declaration into text in UTF-8.
        ("unicode", "utf-8", "猫"),
        ("ANSI", "utf-8", "猫"),
        ("gb2312", "utf-8", "猫"),
        ("gb2312", "utf-8-sig", "猫"),
        ("utf-8", "utf-16", "猫"),
        ("utf-16", "utf-16-le", "猫"),
        ("utf-8", "utf-16-be", "猫"),
        ("utf-8", "utf-32", "猫"),
        ("euc-jp", "euc_jp", "ねこ"),
    ],
)
def test_encodings_are_decoded_whether_or_not_as_declared(tmp_path, declared, codec, name):
    text = annotation(objects=thing(name, 1, 2, 3, 4))
    data = f'<?xml version="1.0" encoding="{declared}"?>\n{text}'.encode(codec)
    assert parse(tmp_path, data).objects[0].name == name


def test_bytes_around_the_document_are_ignored(tmp_path):
    text = f'\n <?xml version="1.0" encoding="utf-8"?>{annotation(objects=thing("a", 1, 2, 3, 4))}'
    assert parse(tmp_path, text.encode() + b"\n\0\0\0").objects[0].name == "a"


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (thing("x", "1,5", 0, 1, 1), "<object> number 2 ('x'): <ymin> is '1,5', expected a number"),
        (thing("x", 0, "nan", 1, 1), "<xmin> is 'nan'"),
        (thing("x", 0, 0, 1, "1e400"), "<xmax> is '1e400'"),
        ("<object><name>x</name><polygon/></object>", "number 2 ('x') has no <bndbox>"),
        ("<object><bndbox/></object>", "number 2 has no <name>"),
    ],
)
def test_an_unusable_object_is_skipped_and_named_in_notes(tmp_path, bad, says):
    path = tmp_path / "a.xml"
    path.write_text(annotation(objects=thing("a", 1, 2, 3, 4) + bad + thing("b", 1, 2, 3, 4)))
    notes = EntryNotes()
    found = voc_xml.parse_annotation(path, notes)
    assert [item.name for item in found.objects] == ["a", "b"]
    [line] = notes.lines()
    assert line.startswith("objects skipped, unusable: 1 (a.xml: <object> number 2")
    assert says in line


def test_unusable_flags_and_sizes_are_replaced_and_named_in_notes(tmp_path):
    path = tmp_path / "a.xml"
    flags = "<difficult>2</difficult><truncated>Unknown</truncated>"
    path.write_text(annotation(objects=thing("a", 1, 2, 3, 4, flags), size=("wide", 30)))
    notes = EntryNotes()
    found = voc_xml.parse_annotation(path, notes)
    assert (found.width, found.height) == (None, 30)
    assert (found.objects[0].difficult, found.objects[0].truncated) == (False, False)
    assert sorted(notes.lines(), reverse=True) == [
        "flags that are not 0 or 1, 0 is used: 2 (a.xml: <object> number 1 ('a'): <difficult> is "
        "'2', expected 0 or 1; a.xml: <object> number 1 ('a'): <truncated> is 'unknown', expected "
        "0 or 1)",
        "annotations whose size is unusable, that of the image is used: 1 (a.xml: <size>: <width> "
        "is 'wide', expected a number of pixels)",
    ]


def test_a_pipe_in_place_of_an_annotation_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.xml")
    with pytest.raises(voc_xml.VocError, match="a.xml .*not a regular file, but a pipe"):
        voc_xml.parse_annotation(tmp_path / "a.xml")
    (tmp_path / "b.xml").symlink_to("nowhere")
    with pytest.raises(voc_xml.VocError, match="b.xml is unreadable: No such file"):
        voc_xml.parse_annotation(tmp_path / "b.xml")


def test_bytes_that_are_not_of_the_declared_encoding_are_an_error(tmp_path):
    data = b'<?xml version="1.0" encoding="EUC-KR"?><annotation>\xff\xff</annotation>'
    with pytest.raises(
        voc_xml.VocError, match="a.xml is not readable as XML: it is not text in EUC-KR; save"
    ):
        parse(tmp_path, data)


BILLION_LAUGHS = (
    '<!DOCTYPE a [<!ENTITY l "ha"><!ENTITY m "&l;&l;&l;&l;&l;&l;">]>'
    "<annotation><filename>&m;</filename></annotation>"
)
READS_FILES = (
    '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/hostname">]>'
    "<annotation><filename>&e;</filename></annotation>"
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BILLION_LAUGHS, "declares XML entities"),
        (READS_FILES, "declares XML entities"),
        ("<annotation><object>", "not well-formed"),
        ("", "not well-formed"),
        (b"\xff\xd8\xff\xe0", "it is not text in utf-8; save it in UTF-8, or state its encoding"),
        (b'<?xml version="1.0" encoding="no-such"?><annotation>\xff', "it is not text in no-such"),
        (b'<?xml version="1.0" encoding="base64"?><annotation>\xff', "it is not text in base64"),
        ("<svg></svg>", "root element is <svg>, expected <annotation>"),
        (annotation(objects="<object><name>x</name></object>"), "'x'.*no <bndbox>"),
        (annotation(objects="<object><bndbox/></object>"), "number 1 has no <name>"),
        (annotation(objects=thing("x", "ten", 0, 1, 1)), "<ymin> is 'ten', expected a number"),
        (annotation(objects=thing("x", 0, "nan", 1, 1)), "<xmin> is 'nan'"),
        (annotation(objects=thing("x", 0, 0, "", 1)), "<ymax> is ''"),
        (annotation(objects=thing("x", 0, 0, 1, "inf")), "<xmax> is 'inf'"),
        (
            annotation(objects=thing("x", 0, 0, 1, 1, "<difficult>maybe</difficult>")),
            "<difficult> is 'maybe', expected 0 or 1",
        ),
        ("<annotation><size><width>wide</width></size></annotation>", "<width> is 'wide'"),
    ],
)
def test_an_invalid_annotation_is_an_error_that_names_the_file(tmp_path, text, says):
    with pytest.raises(voc_xml.VocError, match=says) as caught:
        parse(tmp_path, text)
    assert str(tmp_path / "a.xml") in str(caught.value)


def test_deeply_nested_xml_does_no_harm(tmp_path):
    text = "<annotation>" + "<a>" * 20000 + "</a>" * 20000 + "</annotation>"
    assert parse(tmp_path, text).objects == ()


# Directories ------------------------------------------------------------------------------------


def two_years(tmp_path):
    for year in ("VOC2007", "VOC2012"):
        make_voc_directory(tmp_path / year, {year: annotation()}, {}, {"train": year})
    return tmp_path


def test_data_dir_is_the_parent_of_the_years_or_a_voc_directory(tmp_path):
    root = two_years(tmp_path)
    assert voc_annotations.find_directories(root, "VOC2012") == [root / "VOC2012"]
    assert voc_annotations.find_directories(root, "merged") == [root / "VOC2007", root / "VOC2012"]
    assert voc_annotations.find_directories(root / "VOC2012", "VOC2007") == [root / "VOC2012"]


def test_missing_directories_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="directory '.*/nowhere' does not exist"):
        voc_annotations.find_directories(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="is not a VOC directory.*VOC2007"):
        voc_annotations.find_directories(tmp_path, "VOC2007")
    make_voc_directory(tmp_path / "VOC2007", {}, {})
    with pytest.raises(FileNotFoundError, match="it lacks .*VOC2012"):
        voc_annotations.find_directories(tmp_path, "merged")
    with pytest.raises(ValueError, match="'VOC1999', expected one of VOC2007, VOC2012, merged"):
        voc_annotations.find_directories(tmp_path, "VOC1999")


def names(files):
    return [path.name for path in files]


def test_a_set_keeps_its_order_and_each_image_once(tmp_path):
    texts = {name: annotation() for name in ("a", "b 1", "c.v2", "d")}
    listing = "d\nb 1\n\na  1\nc.v2.jpg -1\nd\n"
    directory = make_voc_directory(tmp_path / "v", texts, {}, {"train": listing, "val": "a"})
    assert names(voc_annotations.annotation_files(directory)) == [
        "d.xml",
        "b 1.xml",
        "a.xml",
        "c.v2.xml",
    ]
    assert names(voc_annotations.annotation_files(directory, "val")) == ["a.xml"]


def test_the_class_list_of_the_od_api_serves_as_a_set(tmp_path):
    directory = make_voc_directory(
        tmp_path / "v", {"a": annotation()}, {}, {"aeroplane_train": "a -1\n"}
    )
    assert names(voc_annotations.annotation_files(directory, "train")) == ["a.xml"]


def test_without_image_sets_every_annotation_in_alphabetical_order(tmp_path):
    directory = make_voc_directory(tmp_path / "v", {name: annotation() for name in "cab"}, {})
    assert names(voc_annotations.annotation_files(directory)) == ["a.xml", "b.xml", "c.xml"]
    with pytest.raises(
        FileNotFoundError, match="set 'train' does not exist.*omit --set to use every"
    ):
        voc_annotations.annotation_files(directory, "train")


def test_images_and_annotations_side_by_side(tmp_path):
    (tmp_path / "a.xml").write_text(annotation("a.png"))
    (tmp_path / "a.png").write_bytes(encoded(block_image(), "PNG"))
    assert voc_annotations.find_directories(tmp_path) == [tmp_path]
    files = voc_annotations.annotation_files(tmp_path)
    found = voc_annotations.ImageFinder(tmp_path).find(voc_xml.parse_annotation(files[0]))
    assert (names(files), found) == (["a.xml"], tmp_path / "a.png")


def files_below(tmp_path, *names):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(annotation())
    (tmp_path / voc_annotations.IMAGES).mkdir(exist_ok=True)
    return tmp_path


def test_files_of_a_mac_subdirectories_and_extensions_in_any_case(tmp_path):
    names = ["Annotations/b.XML", "Annotations/sub/a.xml", "Annotations/._b.xml"]
    others = ["__MACOSX/b.xml", ".ipynb_checkpoints/b-checkpoint.xml", "@eaDir/b.xml", ".DS_Store"]
    root = files_below(tmp_path, *names, *(f"Annotations/{name}" for name in others))
    (root / "Annotations/directory.xml").mkdir()
    (root / "Annotations/loop").symlink_to(root / "Annotations")
    found = voc_annotations.all_annotation_files(root)
    assert [path.relative_to(root).as_posix() for path in found] == names[:2]


@pytest.mark.parametrize(
    "codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "mac-roman"]
)
def test_lists_of_sets_in_other_encodings_and_names_in_other_forms(tmp_path, codec):
    composed, decomposed = "B\u00e4r", "Ba\u0308r"
    root = files_below(tmp_path, f"Annotations/{decomposed}.xml", "Annotations/sub/c.xml")
    listing = root / voc_annotations.SETS / "train.txt"
    listing.parent.mkdir(parents=True)
    listing.write_bytes(f"{composed}\r\nsub/c\r\nc.xml\r\n".encode(codec))
    found = voc_annotations.annotation_files(root, "train")
    assert [path.stem for path in found] == [decomposed, "c"]
    image = root / voc_annotations.IMAGES / "x" / f"{decomposed}.jpg"
    image.parent.mkdir()
    image.write_bytes(b"")
    parsed = voc_xml.VocAnnotation(found[0], f"{composed}.jpg", None, None, ())
    assert voc_annotations.ImageFinder(root).find(parsed) == image


@pytest.mark.parametrize(("codec", "name"), [("gbk", "猫"), ("cp932", "ねこ"), ("cp1252", "5€")])
def test_lists_in_encodings_of_windows(tmp_path, codec, name):
    root = files_below(tmp_path, f"Annotations/{name}.xml")
    listing = root / voc_annotations.SETS / "train.txt"
    listing.parent.mkdir(parents=True)
    listing.write_bytes(f"{name}\t1\r\n/data/JPEGImages/{name}.jpg\n".encode(codec))
    assert [path.stem for path in voc_annotations.annotation_files(root)] == [name]


def test_misspelt_set_and_missing_annotations_are_named(tmp_path):
    directory = make_voc_directory(
        tmp_path / "v", {"a": annotation()}, {}, {"train": "a\nb\n", "val": ""}
    )
    with pytest.raises(
        FileNotFoundError, match="set 'trian' does not exist.*--set may be train, val"
    ):
        voc_annotations.annotation_files(directory, "trian")
    with pytest.raises(FileNotFoundError, match="1 of 2 images have no annotation.*b.xml"):
        voc_annotations.annotation_files(directory, "train")
    with pytest.raises(voc_xml.VocError, match="val.txt is empty, expected the name"):
        voc_annotations.annotation_files(directory, "val")
    with pytest.raises(
        FileNotFoundError, match="directory '.*labels' does not exist.*--annotations_dir"
    ):
        voc_annotations.annotation_files(directory, "train", "labels")


@pytest.mark.parametrize(
    ("filename", "on_disk", "found"),
    [
        ("a.jpg", ["a.jpg", "b.jpg"], "a.jpg"),
        ("a.jpg", ["a.PNG"], "a.PNG"),
        ("C:\\images\\a.jpg", ["a.jpg"], "a.jpg"),
        ("../../a.jpg", ["a.jpg"], "a.jpg"),
        ("frame.0001", ["frame.0001.jpg"], "frame.0001.jpg"),
        ("renamed.jpg", ["stem.jpeg"], "stem.jpeg"),
        ("", ["STEM.JPG"], "STEM.JPG"),
        ("a.jpg", ["other.jpg", "a.txt"], None),
    ],
)
def test_the_image_is_found_by_filename_then_by_the_annotations_name(
    tmp_path, filename, on_disk, found
):
    directory = make_voc_directory(tmp_path / "v", {}, {name: b"" for name in on_disk})
    item = voc_xml.VocAnnotation(tmp_path / "stem.xml", filename, None, None, ())
    result = voc_annotations.ImageFinder(directory).find(item)
    assert result == (directory / "JPEGImages" / found if found else None)


def test_an_image_that_is_not_the_only_one_is_noted(tmp_path):
    directory = make_voc_directory(tmp_path / "v", {}, {"a.jpg": b"", "a.png": b"", "b.jpg": b""})
    finder, notes = voc_annotations.ImageFinder(directory), EntryNotes()
    for name, found in (("a", "a.jpg"), ("a.png", "a.png"), ("b", "b.jpg")):
        item = voc_xml.VocAnnotation(tmp_path / "stem.xml", name, None, None, ())
        assert finder.find(item, notes) == directory / "JPEGImages" / found
    assert notes.lines() == (
        "annotations that several images fit, the first was taken: 1 (stem.xml: a.jpg, a.png)",
    )


def test_a_missing_image_directory_is_named(tmp_path):
    directory = make_voc_directory(tmp_path / "v", {}, {})
    with pytest.raises(
        FileNotFoundError, match="directory '.*photos' does not exist.*--images_dir"
    ):
        voc_annotations.ImageFinder(directory, "photos")


@needs_shared_data
def test_real_directories_are_read_whole():
    directory = SHARED / "data" / "bccd"
    annotations = [
        voc_xml.parse_annotation(path) for path in voc_annotations.all_annotation_files(directory)
    ]
    finder = voc_annotations.ImageFinder(directory)
    assert len(annotations) == 364
    assert all(finder.find(item) for item in annotations)
    assert voc_annotations.class_names(annotations) == ["Platelets", "RBC", "WBC"]
    assert sum(len(item.objects) for item in annotations) == 4888
    assert len(voc_annotations.annotation_files(directory, "test")) == 72
