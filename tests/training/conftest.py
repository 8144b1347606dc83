import pytest

from stdp_run.training.plot_writer import PlotWriter


@pytest.fixture
def no_plots(monkeypatch):
    """Leave out the plots of runs, which take most of the time of tiny ones."""
    monkeypatch.setattr(PlotWriter, "_make", lambda *_: None)
