import pytest
from marshmallow import fields

from luna_image_store.settings import FILE_VARIABLE, PREFIX, SECTION_TYPES, SECTIONS, SettingsError, load, masked

DECLARED = [(section, key, field) for section, schema in SECTIONS.items() for key, field in schema.fields.items()]


@pytest.fixture
def file(tmp_path):
    """Return a function that writes a settings file and returns its path."""

    def write(text):
        path = tmp_path / "settings.toml"
        path.write_text(text, "utf-8")
        return str(path)

    return write


def from_environ(name, value):
    section, _, key = name.partition("__")
    return masked(load(environ={PREFIX + name: value}))[section][key]


def test_each_setting_has_its_default():
    settings = masked(load(environ={}))
    assert settings.keys() == SECTIONS.keys()
    for section, key, field in DECLARED:
        assert settings[section][key] == field.load_default


def test_the_documented_defaults_do_not_change():
    settings = load(environ={})
    assert settings.http.bind == "127.0.0.1:5020"
    assert settings.storage.type == "disk"
    assert (settings.local_storage.path, settings.local_storage.durable) == ("./var/storage", True)
    assert settings.images.jpeg_quality == 95
    assert settings.images.background == "#ffffff"
    assert settings.objects.max_size == 2**30


def test_a_file_overrides_the_defaults_and_the_environment_overrides_the_file(file):
    path = file("[IMAGES]\nMAX_SIZE = 10\nMAX_PIXELS = 20\n[OBJECTS]\nMAX_SIZE = 30\n")
    settings = load(path, {f"{PREFIX}IMAGES__MAX_SIZE": "11"})
    assert (settings.images.max_size, settings.images.max_pixels, settings.objects.max_size) == (11, 20, 30)
    assert settings.images.jpeg_quality == 95


def test_a_variable_names_the_file_and_an_argument_overrides_it(file, tmp_path):
    environ = {FILE_VARIABLE: file("[IMAGES]\nMAX_SIZE = 10\n")}
    assert load(environ=environ).images.max_size == 10
    other = tmp_path / "other.toml"
    other.write_text("[IMAGES]\nMAX_SIZE = 12\n")
    assert load(str(other), environ).images.max_size == 12


def test_other_environment_variables_are_ignored():
    assert load(environ={"PATH": "/bin", "LUNA_IMAGE_STORE": "x", "LUNA_IMAGE_STORE_X": "y"}) == load(environ={})


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("HTTP__WORKERS", "8", 8),
        ("HTTP__WORKERS", "0", 0),
        ("IMAGES__MAX_SIZE", "1_000_000", 1_000_000),
        ("S3__READ_TIMEOUT", "0.5", 0.5),
        ("S3__READ_TIMEOUT", "7", 7.0),
        ("LOCAL_STORAGE__DURABLE", "false", False),
        ("LOCAL_STORAGE__DURABLE", "False", False),
        ("S3__VERIFY_SSL", "TRUE", True),
        ("S3__REGION", "true", "true"),
        ("S3__ACCESS_KEY_ID", "0123", "0123"),
        ("S3__REGION", "", ""),
        ("S3__ENDPOINT_URL", "https://s3.example:9000/prefix", "https://s3.example:9000/prefix"),
        ("LOCAL_STORAGE__PATH", 'a "quoted" path', 'a "quoted" path'),
        ("LUNA_SERVICE_METRICS__EXTRA_LABELS", '{site = "north", rack = "7"}', {"site": "north", "rack": "7"}),
        ("LUNA_SERVICE_METRICS__EXTRA_LABELS", "{}", {}),
    ],
)
def test_variables_are_parsed_by_the_type_of_their_setting(name, text, value):
    parsed = from_environ(name, text)
    assert parsed == value
    assert type(parsed) is type(value)


INVALID_VALUES = [
    ("HTTP__WORKERS", "-1"),
    ("HTTP__WORKERS", "two"),
    ("HTTP__WORKERS", "1.5"),
    ("HTTP__WORKERS", ""),
    ("HTTP__WORKERS", "true"),
    ("HTTP__REQUEST_TIMEOUT", "0"),
    ("HTTP__BIND", ""),
    ("STORAGE__TYPE", "tape"),
    ("LOCAL_STORAGE__PATH", ""),
    ("LOCAL_STORAGE__DURABLE", "maybe"),
    ("LOCAL_STORAGE__DURABLE", "2"),
    ("LOCAL_STORAGE__DURABLE", "{}"),
    ("S3__READ_TIMEOUT", "0"),
    ("S3__READ_TIMEOUT", "inf"),
    ("S3__READ_TIMEOUT", "nan"),
    ("S3__ADDRESSING_STYLE", "host"),
    ("S3__ENDPOINT_URL", "s3.example:9000"),
    ("S3__ENDPOINT_URL", "ftp://s3.example"),
    ("S3__ENDPOINT_URL", "http://"),
    ("S3__ENDPOINT_URL", "http://s3.example:port"),
    ("S3__ENDPOINT_URL", "http://[::1"),
    ("S3__ENDPOINT_URL", "http://s3.example/?a=b"),
    ("S3__ENDPOINT_URL", "http://user:password@s3.example"),
    ("IMAGES__JPEG_QUALITY", "0"),
    ("IMAGES__JPEG_QUALITY", "101"),
    ("HTTP__BIND", "127.0.0.1:99999"),
    ("HTTP__BIND", "127.0.0.1:notaport"),
    ("HTTP__BIND", "fd://3"),
    ("HTTP__BIND", "unix:"),
    ("IMAGES__BACKGROUND", "white"),
    ("IMAGES__BACKGROUND", "#fff"),
    ("IMAGES__BACKGROUND", "#ffffff\n"),
    ("IMAGES__MAX_SIZE", "1\nMAX_PIXELS = 1"),
    ("LUNA_IMAGE_STORE_LOGGER__LOG_LEVEL", "LOUD"),
    ("INFLUX_MONITORING__PORT", "65536"),
    ("LUNA_SERVICE_METRICS__EXTRA_LABELS", "[1]"),
    ("LUNA_SERVICE_METRICS__EXTRA_LABELS", "{site = 1}"),
    ("LUNA_SERVICE_METRICS__EXTRA_LABELS", "north"),
    ("LUNA_SERVICE_METRICS__EXTRA_LABELS", '{"site-name" = "north"}'),
    ("LUNA_SERVICE_METRICS__EXTRA_LABELS", '{__site = "north"}'),
    ("LUNA_SERVICE_METRICS__EXTRA_LABELS", '{path = "north"}'),
    ("LUNA_SERVICE_METRICS__EXTRA_LABELS", '{le = "north"}'),
]


@pytest.mark.parametrize(("name", "text"), INVALID_VALUES)
def test_an_invalid_value_is_reported_with_its_variable(name, text):
    with pytest.raises(SettingsError) as caught:
        from_environ(name, text)
    assert name.replace("__", ".") + ":" in str(caught.value)
    assert str(caught.value).endswith(f"(from {PREFIX}{name})")


def test_all_invalid_values_are_reported_with_their_sources(file):
    path = file('[HTTP]\nWORKERS = "4"\n')
    with pytest.raises(SettingsError) as caught:
        load(path, {f"{PREFIX}HTTP__THREADS": "-1"})
    errors = sorted(str(caught.value).split("; "))
    assert errors[0].startswith("HTTP.THREADS: ")
    assert errors[0].endswith(f"(from {PREFIX}HTTP__THREADS)")
    assert errors[1].startswith("HTTP.WORKERS: ")
    assert errors[1].endswith(f"(from {path})")


@pytest.mark.parametrize("text", ["[HTTP]\nPROT = 1\n", "[HTTP]\nbind = 'x'\n"])
def test_an_unknown_key_of_a_file_is_reported(file, text):
    with pytest.raises(SettingsError, match=r"HTTP\.(PROT|bind): "):
        load(file(text), {})


def test_an_unknown_section_of_a_file_is_reported_with_the_valid_sections(file):
    with pytest.raises(SettingsError, match=r"no such section: HTPT; the sections are HTTP, STORAGE, .*") as caught:
        load(file("[HTPT]\nBIND = 'x'\n"), {})
    assert "settings.toml" in str(caught.value)


def test_a_key_outside_of_a_section_is_reported(file):
    with pytest.raises(SettingsError, match=r"settings\.toml: BIND is outside of a \[SECTION\]"):
        load(file("BIND = 'x'\n"), {})


@pytest.mark.parametrize("name", ["HTTP__PROT", "HTPT__BIND", "HTTP", "HTTP__", "__BIND", "", "http__bind"])
def test_an_unknown_variable_is_reported(name):
    with pytest.raises(SettingsError, match=f"environment variable {PREFIX}{name}: no such setting"):
        load(environ={PREFIX + name: "x"})


@pytest.mark.parametrize("content", [None, b"[HTTP", b"a = ", b"\xff", b"[HTTP]\nBIND = 'a'\nBIND = 'b'\n"])
def test_a_file_that_cannot_be_read_is_reported(tmp_path, content):
    path = tmp_path / "broken.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"settings file .*/broken\.toml: "):
        load(str(path), {})


def test_secrets_that_are_set_are_masked():
    secrets = {(section, key) for section, key, field in DECLARED if field.metadata["secret"]}
    assert secrets == {("S3", "SECRET_ACCESS_KEY"), ("INFLUX_MONITORING", "TOKEN")}
    settings = load(environ={f"{PREFIX}{section}__{key}": "secret" for section, key in secrets})
    assert (settings.s3.secret_access_key, settings.influx.token) == ("secret", "secret")
    shown = masked(settings)
    for section, key, field in DECLARED:
        assert shown[section][key] == ("***" if (section, key) in secrets else field.load_default)


def test_settings_with_the_name_of_a_secret_are_secrets():
    for _, key, field in DECLARED:
        if any(word in key for word in ("SECRET", "TOKEN", "PASSWORD")):
            assert field.metadata["secret"], key


@pytest.mark.parametrize(("section", "key", "field"), DECLARED, ids=[f"{section}.{key}" for section, key, _ in DECLARED])
def test_each_setting_has_a_description_and_a_valid_default(section, key, field):
    text = field.metadata["description"]
    assert text.endswith(".")
    assert text.count("`") % 2 == 0
    assert isinstance(field, fields.Field)
    assert field.deserialize(field.load_default) == field.load_default


@pytest.mark.parametrize("section", SECTIONS)
def test_each_section_has_a_description(section):
    assert SECTION_TYPES[section].__doc__.endswith(".")
