"""``ra-plugin options``: what is listed, copied and written; and ``-opt NAME`` of shipped files."""
import pytest
import yaml

from ra_plugin.cli.main import main
from ra_plugin.shipped.find import option_files, option_text, written_files


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('sys.argv', ['pytest'])


def test_list_names_all_files_and_says_what_they_are_for(capsys):
    assert main(['options', 'list']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(option_files()) > 60
    assert all(len(line.split(maxsplit=1)) == 2 for line in lines)
    assert main(['options', 'list', 'rdn', 'ra_']) == 0
    line, = capsys.readouterr().out.splitlines()
    assert line.split(maxsplit=1) == ['ra_rdn_x4', 'Recognition-aware training with labels, Eq. 2']


@pytest.mark.parametrize('name', ['ra_rdn_x4', 'options/ra_rdn_x4.yml', 'ra_dbpn_x4.yml'])
def test_copy(name, tmp_path, capsys):
    stem = name.removeprefix('options/').removesuffix('.yml')
    assert main(['options', 'copy', name]) == 0
    assert capsys.readouterr().out == f'Written to {stem}.yml.\n'
    assert (tmp_path / f'{stem}.yml').read_text() == option_text(f'options/{stem}.yml')
    assert main(['options', 'copy', name, 'new/mine.yml']) == 0
    assert (tmp_path / 'new' / 'mine.yml').read_text() == option_text(f'options/{stem}.yml')


@pytest.mark.parametrize('words, said', [
    (['copy', 'ra_rdn_x5'], "no shipped option file 'ra_rdn_x5'. Did you mean 'ra_rdn_x4'?"),
    (['copy', 'ra_rdn_x4', 'mine.yml'], 'mine.yml exists and is another file')])
def test_what_cannot_be_copied(words, said, tmp_path, capsys):
    (tmp_path / 'mine.yml').write_text('name: mine')
    with pytest.raises(SystemExit) as ended:
        main(['options', *words])
    assert ended.value.code == 2 and said in capsys.readouterr().err.splitlines()[-1]
    assert (tmp_path / 'mine.yml').read_text() == 'name: mine'


@pytest.mark.slow
def test_write_is_done_twice_without_harm(tmp_path):
    for _ in range(2):
        assert main(['options', 'write']) == 0
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob('*.yml')) == sorted(written_files())
    for path in written_files():
        assert yaml.safe_load((tmp_path / path).read_text())['name'] == (tmp_path / path).name.removesuffix('.yml')


def test_opt_takes_names_and_hints_at_near_ones(capsys):
    with pytest.raises(SystemExit):
        main(['evaluate', '-opt', 'eval/cifar100'])
    assert "no option file eval/cifar100. Did you mean 'eval/cifar10'?" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize('words', [['train', '-opt'], ['test', '-opt'], ['sweep', '--loss-weight', '0', '--eval'],
                                   ['train-recognizer', 'x', '--data', 'x', '--out', 'x', '--restorer']])
@pytest.mark.parametrize('name', ['nosuch', 'no/such.yml', '/nowhere/x.yml'])
def test_a_file_that_is_none_and_like_none_is_told_where_the_shipped_ones_are(words, name, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*words, name])
    last = capsys.readouterr().err.splitlines()[-1]
    assert ended.value.code == 2 and last.startswith(f'ra-plugin {words[0]}: error: argument {words[-1]}')
    assert last.endswith(f': no option file {name}. `ra-plugin options list` shows the shipped ones, '
                         '`ra-plugin options copy NAME` copies one.')
