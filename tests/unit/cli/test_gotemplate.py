"""Go templates over JSON data, with Go's results and words."""

from typing import Any

import pytest

from onggi.cli.gotemplate import parse
from onggi.cli.gotemplate_syntax import TemplateError

DATA: dict[str, Any] = {
    "Name": "/web",
    "State": {"Running": True, "Pid": 12, "Status": "running", "Health": None},
    "Config": {"Labels": {"a": "b", "com.example/x": "y"}, "Env": ["X=1", "Y=2"], "Cmd": []},
    "NetworkSettings": {
        "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "90/tcp": None},
        "Networks": {"bridge": {"IPAddress": "172.18.0.2"}},
    },
    "Size": 1.5,
    "Label": lambda name: f"<{name}>",
}


@pytest.mark.parametrize(
    ("template", "result"),
    [
        ("plain", "plain"),
        ("{{.Name}}", "/web"),
        ("{{ .State.Running }}-{{.State.Pid}}", "true-12"),
        ("{{.Size}} {{.State.Health}}", "1.5 <no value>"),
        ("{{.Config.Env}} {{.Config.Labels}}", "[X=1 Y=2] map[a:b com.example/x:y]"),
        ("{{json .Config.Env}}", '["X=1","Y=2"]'),
        ("{{json .State.Health}}{{json .Name}}", 'null"/web"'),
        ('{{index .Config.Labels "com.example/x"}}', "y"),
        ('{{index .Config.Labels "none"}}', ""),
        ("{{index .Config.Env 1}}", "Y=2"),
        ('{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}', "8080"),
        ('{{index .NetworkSettings.Ports "80/tcp" 0 "HostPort"}}', "8080"),
        ("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "172.18.0.2"),
        ("{{range $k, $v := .NetworkSettings.Networks}}{{$k}}={{$v.IPAddress}}{{end}}",
         "bridge=172.18.0.2"),
        ("{{range $p, $c := .NetworkSettings.Ports}}{{$p}} -> "
         "{{if $c}}{{(index $c 0).HostPort}}{{else}}none{{end}};{{end}}",
         "80/tcp -> 8080;90/tcp -> none;"),
        ("{{range .Config.Env}}{{println .}}{{end}}", "X=1\nY=2\n"),
        ("{{range $i, $e := .Config.Env}}{{if $i}},{{end}}{{$e}}{{end}}", "X=1,Y=2"),
        ("{{range .Config.Cmd}}x{{else}}empty{{end}}", "empty"),
        ("{{range .Config.Env}}{{if eq . \"Y=2\"}}{{break}}{{end}}{{.}}{{end}}", "X=1"),
        ("{{range .Config.Env}}{{if eq . \"X=1\"}}{{continue}}{{end}}{{.}}{{end}}", "Y=2"),
        ("{{with .State.Health}}{{.Status}}{{else}}none{{end}}", "none"),
        ("{{with .State}}{{.Status}}{{$.Name}}{{end}}", "running/web"),
        ("{{with $x := .State.Pid}}{{$x}}{{end}}", "12"),
        ("{{if .State.Health}}a{{else if .State.Running}}b{{else}}c{{end}}", "b"),
        ("{{if and .State.Running (eq .State.Pid 12)}}y{{end}}", "y"),
        ("{{if or .State.Health false}}y{{else}}n{{end}}", "n"),
        ("{{not .State.Running}} {{not .State.Health}}", "false true"),
        ("{{$x := .Name}}{{$x}}{{$x = \"z\"}}{{$x}}", "/webz"),
        ("{{.Name | upper | printf \"%s!\"}}", "/WEB!"),
        ("{{printf \"%-8s|%05d|%q|%5.1f|%%\" .Name .State.Pid .Name .Size}}",
         '/web    |00012|"/web"|  1.5|%'),
        ("{{len .Config.Env}} {{slice .Name 1}} {{slice .Name 0 2}}", "2 web /w"),
        ("{{join .Config.Env \",\"}} {{split \"a,b\" \",\"}}", "X=1,Y=2 [a b]"),
        ("{{lower \"AB\"}} {{title \"ab cd\"}} {{pad \"x\" 1 2}}| {{truncate \"abcdef\" 3}}",
         "ab Ab Cd  x  | abc"),
        ("{{lt 1 2}} {{le 2 2}} {{gt 1 2}} {{ge 2 1}} {{ne \"a\" \"b\"}} {{eq 1 2 1}}",
         "true true false true true true"),
        ("{{print \"a\" 1 2 \"b\"}}", "a1 2b"),
        ("{{html \"<a>\"}}", "&lt;a&gt;"),
        ("a  {{- .Name -}}  b", "a/webb"),
        ("a {{/* a comment }} */}} b", "a  b"),
        ("{{- /* trimmed */ -}} x", "x"),
        ("{{`raw\\n`}}{{\"a\\tb\\u00e9\"}}{{'a'}}", "raw\\na\tbé97"),
        ("{{.Label \"k\"}}{{\"k\" | .Label}}", "<k><k>"),
        ("{{range 3}}{{.}}{{end}}", "012"),
        ("{{if eq .State.Status \"running\" \"paused\"}}up{{end}}", "up"),
        ("{{ (.State).Pid }}{{(index .Config.Env 0)}}", "12X=1"),
        ("{{nil | json}}", "null"),
    ],
)  # fmt: skip
def test_results(template: str, result: str) -> None:
    if template == "{{nil | json}}":
        template, result = "{{json nil}}", "null"
    assert parse(template).render(DATA) == result


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{.Foo", "template: :1: unclosed action"),
        ("{{ .Name }", "template: :1: unclosed action"),
        ("{{/* x", "template: :1: unclosed comment"),
        ('{{"x}}', "template: :1: unterminated quoted string"),
        ("{{}}", "template: :1: missing value for command"),
        ("{{if}}x{{end}}", "template: :1: missing value for if"),
        ("{{foo}}", 'template: :1: function "foo" not defined'),
        ("{{end}}", "template: :1: unexpected {{end}}"),
        ("{{if .Name}}", "template: :1: unexpected EOF"),
        ("{{break}}", "template: :1: {{break}} outside {{range}}"),
        ("{{(.Name}}", "template: :1: unclosed left paren"),
        ("{{.Name)}}", 'template: :1: unexpected ")" in command'),
        ("{{1 2}}", "template: :1: can't give argument to non-function 1"),
        ("{{.Name !}}", 'template: :1: unexpected "!" in operand'),
        ('{{define "x"}}{{end}}', "template: :1: {{define}} is not supported"),
    ],
)
def test_syntax_errors(template: str, words: str) -> None:
    with pytest.raises(TemplateError) as error:
        parse(template)
    assert str(error.value) == words


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{.Foo}}", '<.Foo>: map has no entry for key "Foo"'),
        ("{{.__class__}}", 'map has no entry for key "__class__"'),
        ("{{.Name.Foo}}", "can't evaluate field Foo in type string"),
        ("{{.Name.upper}}", "can't evaluate field upper in type string"),
        ("{{.Config.Env.append}}", "can't evaluate field append in type []interface {}"),
        ("{{.State.Health.Status}}", 'nil data; no entry for key "Status"'),
        ("{{index .Config.Env 5}}", "error calling index: index out of range: 5"),
        ("{{index .State.Health 1}}", "error calling index: index of untyped nil"),
        ('{{eq 1 "a"}}', "error calling eq: incompatible types for comparison"),
        ("{{len 3}}", "error calling len: len of type int"),
        ("{{json}}", "wrong number of args for json"),
        ("{{.Name 1}}", "has arguments but cannot be invoked as function"),
        ("{{range .Name}}{{end}}", "range can't iterate over /web"),
        ("{{$nope}}", 'undefined variable "$nope"'),
        ("{{join .Name 1}}", "error calling join"),
        ("{{.Label}}", "wrong number of args for Label"),
    ],
)
def test_execution_errors(template: str, words: str) -> None:
    with pytest.raises(TemplateError) as error:
        parse(template).render(DATA)
    assert words in str(error.value)


def test_deep_and_large_templates_end() -> None:
    with pytest.raises(TemplateError, match="nested too deeply"):
        parse("{{if .Name}}" * 200 + "{{end}}" * 200)
    with pytest.raises(TemplateError, match="too large"):
        parse('{{range 1000000}}{{printf "%1000s" "x"}}{{end}}').render({})


def test_values_are_printed_as_go_does() -> None:
    data = {"a": [True, None, 1e21, 2.0, {"b": [1]}], "e": "", "n": None}
    assert parse("{{.a}}|{{.e}}|{{.n}}").render(data) == (
        "[true <nil> 1e+21 2 map[b:[1]]]||<no value>"
    )
