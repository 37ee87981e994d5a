"""The domain: functions, their versions, their code."""
