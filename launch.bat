@echo off
rem SO8T Studio: finds a Python that it runs on and hands over to launch.py.
rem   launch.bat [ARGUMENTS]        start the dashboard
rem   launch.bat test [ARGUMENTS]   run the tests
rem   launch.bat setup              install and stop
setlocal EnableExtensions DisableDelayedExpansion
title SO8T Studio
set "PYTHON="
set "FOUND="
set "CODE=2"
rem Python's install manager must not download a Python while we only ask for one.
set "PYTHON_MANAGER_AUTOMATIC_INSTALL=false"

cd /d "%~dp0"
if errorlevel 1 (
    echo This folder can't be opened from here. Copy SO8T Studio to a folder on a local drive.
    goto end
)
if not exist "launch.py" (
    echo launch.py is missing beside launch.bat. Unpack the whole archive, then start launch.bat there.
    goto end
)

call :try py -3
call :try py -3.13
call :try py -3.12
call :try py -3.11
call :try python
if defined PYTHON goto start

if defined FOUND (
    echo The Python on this computer is not one that SO8T Studio runs on.
) else (
    echo There is no Python on this computer.
)
echo SO8T Studio needs Python 3.11, 3.12 or 3.13 (64-bit^). Install this one, then start again:
echo   https://www.python.org/downloads/release/python-31316/
goto end

:start
%PYTHON% "launch.py" %*
set "CODE=%errorlevel%"

:end
if not "%CODE%"=="0" pause
exit /b %CODE%

rem Takes a Python when it answers 42. 43: a Python, but not a fitting one. Anything else, such as the Microsoft
rem Store's stub that goes by the name of python, is none.
:try
if defined PYTHON exit /b
%* -c "import sys; sys.exit(42 if (3, 11) <= sys.version_info[:2] < (3, 14) and sys.maxsize > 2**32 else 43)" >nul 2>nul
if "%errorlevel%"=="42" set "PYTHON=%*"
if "%errorlevel%"=="43" set "FOUND=%*"
exit /b
