"""What test predictions show: calibration, backtest, rivals, segments."""
